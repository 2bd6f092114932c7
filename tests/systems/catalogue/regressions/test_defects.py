"""What went wrong in the original, by the names of its defects; those of single inferrers stand with the science."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from limner.errors import SearchUnavailable
from limner.systems.catalogue import odd_pictures
from limner.testing.picture_server import PictureServer, Reply
from tests.damage import damage_index
from tests.systems.catalogue.conftest import Library
from tests.systems.catalogue.projects import (
    CatalogueProject,
    from_template,
    limner,
    numbered_pictures,
    plain_picture,
    rows,
)

STUBS = """\
    import time

    def noted(name: str) -> dict:
        with open("calls.log", "a") as log:
            log.write(name + "\\n")
        return {"name": name}

    def sleeper(name: str) -> dict:
        with open("begun", "w") as begun:
            begun.write(name)
        time.sleep(60)
        return {"name": name}
"""
NAME = 'Stage("noted", infer="stubs:noted", reads={"name": "name"})'


def test_bad_item_spares_batch(measuring: CatalogueProject) -> None:
    """One unreadable picture in a batch of sixteen costs one picture."""
    # given
    pictures = numbered_pictures(16)
    pictures["p0007.png"] = b"no picture at all"
    folder = measuring.folder / "pictures"
    folder.mkdir()
    for name, content in pictures.items():
        (folder / name).write_bytes(content)

    # when
    with measuring.open() as app:
        summary = app.run("catalogue", folder)

    # then
    assert (summary.done, summary.failed) == (15, 1)


def test_grey_rgba_features(tmp_path: Path) -> None:
    """Pictures of one and of four channels get features like any other."""
    # given
    project = from_template(tmp_path / "cat")
    odd_pictures.odd(tmp_path / "odd")
    legal = tmp_path / "legal"
    legal.mkdir()
    for name in ("grey.png", "grey-alpha.png", "alpha.png", "sixteen-bit.png", "cmyk.jpg"):
        (tmp_path / "odd" / name).rename(legal / name)

    # when
    with project.open() as app:
        summary = app.run("catalogue", legal)

    # then
    assert (summary.done, summary.failed) == (5, 0)


def test_unreadable_is_typed(measuring: CatalogueProject) -> None:
    """Empty, HTML and other files that are no pictures end with a code of their own and a sentence."""
    # given
    contents = {
        "empty.jpg": b"",
        "html.jpg": b"<html><p>Busy",
        "text.jpg": b"moved",
        "cut.png": plain_picture((1, 2, 3))[:50],
    }
    folder = measuring.folder / "pictures"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)

    # when
    with measuring.open() as app:
        summary = app.run("catalogue", folder)
        failures = {row.id: row for row in app.failures(summary.job)}

    # then
    assert {name: row.code for name, row in failures.items()} == {
        "empty.jpg": "SOURCE_TRUNCATED",
        "html.jpg": "SOURCE_WRONG_TYPE",
        "text.jpg": "SOURCE_WRONG_TYPE",
        "cut.png": "SOURCE_TRUNCATED",
    }
    assert all(len(row.message.split()) > 3 for row in failures.values())


@pytest.mark.parametrize("address", ["file:///etc/hostname", "/etc/hostname", "file:///tmp/../etc/hostname"])
def test_no_local_file_read(measuring: CatalogueProject, address: str) -> None:
    """A file outside the folders that a user named is not opened, whatever its address looks like."""
    # when
    with measuring.open() as app:
        summary = app.run("catalogue", measuring.records([{"id": "a", "image_url": address}]))
        (failure,) = app.failures(summary.job)

    # then
    assert (failure.code, failure.attempts) == ("SOURCE_REFUSED", 1)


def test_no_ssrf(measuring: CatalogueProject) -> None:
    """No private address is asked: not by number, not by a name that leads there, not by a redirect."""
    # given
    with PictureServer(numbered_pictures(1)) as server:
        port = server.host.rpartition(":")[2]
        server.plan("redirect.png", Reply(redirect="http://169.254.169.254/latest/meta-data"))
        addresses = {
            "metadata": "http://169.254.169.254/latest/meta-data",
            "loopback": f"http://127.0.0.2:{port}/p0000.png",
            "name": f"http://localhost:{port}/p0000.png",
            "redirect": server.url("redirect.png"),
            "allowed": server.url("p0000.png"),
        }

        # when
        with measuring.open(allow_hosts=[server.host]) as app:
            source = measuring.records([{"id": key, "image_url": url} for key, url in addresses.items()])
            summary = app.run("catalogue", source)
            codes = {row.id: row.code for row in app.failures(summary.job)}

    # then
    assert codes == dict.fromkeys(set(addresses) - {"allowed"}, "SOURCE_REFUSED")
    assert summary.done == 1


def test_lost_record_is_not_success(measuring: CatalogueProject) -> None:
    """A run with a lost picture does not say success: it counts it, names it and ends with status 1."""
    # given
    with PictureServer(numbered_pictures(3)) as server:
        server.plan("p0001.png", Reply(status=404))
        measuring.write("limner.toml", f'allow_hosts = ["{server.host}"]\n')
        measuring.records(rows(server, ["p0000.png", "p0001.png", "p0002.png"]))

        # when
        ran = limner(measuring, "run", "catalogue", "records.jsonl")
        failures = limner(measuring, "failures")

    # then
    assert ran.returncode == 1
    assert "p0001.png" in failures.stdout
    assert "SOURCE_NOT_FOUND" in failures.stdout


def test_one_missing_asset_spares_the_part(measuring: CatalogueProject) -> None:
    """A missing asset is one failed record; the rest of its task is done at once."""
    # given
    pictures = numbered_pictures(63)
    with PictureServer(pictures) as server, measuring.open(allow_hosts=[server.host]) as app:
        # when
        summary = app.run("catalogue", measuring.records(rows(server, [*pictures, "missing.png"])))

    # then
    assert (summary.done, summary.failed) == (63, 1)


def test_read_retried(measuring: CatalogueProject) -> None:
    """A read that fails for a moment is tried again, and its record is done in the same run."""
    # given
    with PictureServer(numbered_pictures(4)) as server, measuring.open(allow_hosts=[server.host]) as app:
        server.plan("p0002.png", Reply(reset=True), Reply(status=503), Reply())

        # when
        summary = app.run("catalogue", measuring.records(rows(server, [f"p000{n}.png" for n in range(4)])))

    # then
    assert (summary.done, summary.failed) == (4, 0)
    assert server.requests["p0002.png"] == 3


def test_write_retried(cat: CatalogueProject) -> None:
    """A store that somebody else writes to for a second holds a run up and fails nothing."""
    # given
    cat.write("stubs.py", STUBS)
    cat.stages(NAME)
    with cat.open() as app:
        app.run("catalogue", cat.records([{"id": "first", "name": "first"}]))
        held, release = threading.Event(), threading.Timer(1.0, lambda: None)

        def hold() -> None:
            with closing(sqlite3.connect(cat.folder / ".limner" / "limner.db", isolation_level=None)) as store:
                store.execute("begin immediate")
                held.set()
                release.start()
                release.join()
                store.execute("commit")

        other = threading.Thread(target=hold)
        other.start()
        held.wait()

        # when
        summary = app.run("catalogue", cat.records([{"id": "second", "name": "second"}], name="second.jsonl"))
        other.join()

    # then
    assert (summary.done, summary.failed) == (1, 0)


def test_version_in_write_order(copied: Library) -> None:
    """After a change of model every vector of the index is of one version, whichever record is newer."""
    # given
    one = copied.ids[0]
    with copied.project.open() as app:
        trained = app.train("catalogue.features", seed=5, parameters={"dims": 16})
        app.registry.promote(f"features@{trained.version.number}", by="a test")

        # when
        app.run("catalogue", copied.source(moved=one))
        lengths = {len(row.values["features"]["vector"]) for row in app.records("images")}
        page = app.search("images", similar=one, limit=100)

    # then
    assert lengths == {16}
    assert len(page.hits) == len(copied.ids) - 1


def test_duplicate_delivery(measuring: CatalogueProject) -> None:
    """Two records of one picture, and one record twice, end well beside each other; the picture is fetched once."""
    # given
    with PictureServer(numbered_pictures(1)) as server, measuring.open(allow_hosts=[server.host]) as app:
        row = rows(server, ["p0000.png"])[0]

        # when
        summary = app.run("catalogue", measuring.records([row, row, {**row, "id": "again"}]))

    # then
    assert (summary.done, summary.failed) == (2, 0)
    assert server.requests["p0000.png"] == 1


def test_search_error_is_not_empty(copied: Library) -> None:
    """A failing index is an error with status 2, and never "nothing similar"."""
    # given
    damage_index(copied.project.folder)

    # when
    done = limner(copied.project, "search", "images", "--similar", copied.ids[0])

    # then
    assert done.returncode not in (0, 1)
    assert done.stdout == ""
    assert done.stderr
    with copied.project.open() as app, pytest.raises(SearchUnavailable):
        app.search("images", "rings")


def test_parent_not_embedded(copied: Library) -> None:
    """An image's record holds no word of its work; the index finds it by these words all the same."""
    # given
    work = copied.drawn.works[0]

    # when
    with copied.project.open() as app:
        records = [row.record for row in app.records("images") if row.record.parent == ("works", work.id)]
        found = app.search("images", work.contributors[0], limit=100)

    # then
    assert records
    assert all(work.description not in str(record.fields) for record in records)
    assert {record.id for record in records} <= {hit.id for hit in found.hits}


def test_never_inferred_is_found(cat: CatalogueProject) -> None:
    """Old records that no run ever inferred are found by a plain run, however old they are."""
    # given
    cat.write("stubs.py", STUBS)
    cat.stages(NAME, name="other")
    rows = [{"id": f"r{n}", "name": f"n{n}", "modifiedTime": f"{1990 + n}-01-01T00:00:00Z"} for n in range(20)]
    with cat.open() as app:
        app.run("other", cat.records(rows))
    cat.stages(NAME)
    (cat.folder / "calls.log").unlink()

    # when
    with cat.open() as app:
        summary = app.run("catalogue")

    # then
    assert summary.inferred == 20
    assert sorted((cat.folder / "calls.log").read_text().split()) == sorted(str(row["name"]) for row in rows)


def test_mapping_change_keeps_index(copied: Library) -> None:
    """While a changed mapping waits for its new generation the old one answers, and it is kept after the switch."""
    # given
    with copied.project.open() as app:
        before = app.search("images", similar=copied.ids[0]).hits
    copied.project.edit('"subjects": 10', '"subjects": 20')

    # when
    with copied.project.open() as app:
        waiting = app.search("images", similar=copied.ids[0]).hits
        app.reindex("catalogue")
        after = app.search("images", similar=copied.ids[0]).hits

    # then
    assert before == waiting == after


@pytest.mark.timed
def test_sigterm_ends_worker(cat: CatalogueProject) -> None:
    """SIGTERM ends a run within seconds although an inferrer would go on for a minute."""
    # given
    cat.write("stubs.py", STUBS)
    cat.stages('Stage("sleep", infer="stubs:sleeper", reads={"name": "name"})')
    cat.records([{"id": "a", "name": "a"}])
    os.mkfifo(cat.folder / "begun")
    command = [str(Path(sys.executable).with_name("limner")), "run", "catalogue", "records.jsonl"]
    run = subprocess.Popen(command, cwd=cat.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert (cat.folder / "begun").read_text() == "a"

    # when
    started = time.monotonic()
    run.send_signal(signal.SIGTERM)
    status = run.wait(timeout=30)

    # then
    assert status == 130
    assert time.monotonic() - started < 8
