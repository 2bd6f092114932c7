"""M: every record ends in one way, nothing is lost, repeated or overwritten, and what is asked for is done."""

import json
from pathlib import Path

import pytest

from limner.app.app import App
from limner.errors import UsageError
from limner.testing.picture_server import PictureServer, Reply
from tests.systems.catalogue.projects import CatalogueProject, Process, adds_up, numbered_pictures

STUBS = """\
    import os
    from pathlib import Path

    def shout(name: str) -> dict:
        with open("calls.log", "a") as log:
            log.write(name + "\\n")
        return {"loud": name.upper()}

    class Poison:
        version = "1"

        def infer(self, kind: list[str]) -> list:
            import numpy as np
            good = np.array([0.6, 0.8, 0.0, 0.0], dtype=np.float32)
            made = {
                "good": good,
                "nan": good * np.nan,
                "infinite": good * np.inf,
                "zero": good * 0,
                "short": good[:3],
                "scaled": good * 1.01,
                "raises": ValueError("it cannot be read"),
            }
            return [m if isinstance(m, Exception) else {"vector": m} for m in (made[k] for k in kind)]

    def odd(number: int) -> dict:
        if number % 2 == 0:
            raise ValueError("it is even")
        return {"number": number}
"""
SHOUT = 'Stage("shout", infer="stubs:shout", reads={"name": "name"}, outputs={"loud": Text()})'


@pytest.fixture
def shouting(cat: CatalogueProject) -> CatalogueProject:
    """A project whose one inferrer writes down every record that it was called for."""
    cat.write("stubs.py", STUBS)
    cat.stages(SHOUT)
    return cat


def named(count: int, **more: object) -> list[dict[str, object]]:
    """As many records with a name as asked for."""
    return [{"id": f"r{n:05d}", "name": f"n{n}", **more} for n in range(count)]


def calls(project: CatalogueProject) -> list[str]:
    """What the inferrer was called for, in order."""
    log = project.folder / "calls.log"
    return log.read_text().splitlines() if log.exists() else []


def loud(app: App) -> dict[str, str]:
    """What was inferred, by id."""
    return {row.record.id: row.values["shout"]["loud"] for row in app.records("images") if "shout" in row.values}


def test_m7_m8_failures_are_kept_and_tried_again(cat: CatalogueProject) -> None:
    """A failure says where, why and by whom; after a retry only what is truly missing is left, nothing else ran."""
    # given
    cat.write(
        "stubs.py", "from PIL import Image\n\ndef size(image: Image.Image) -> dict:\n    return {'w': image.width}\n"
    )
    cat.stages('Stage("size", infer="stubs:size", reads={"image": file("image_url")}, retry=RetryPolicy(attempts={}))')
    pictures = numbered_pictures(12)
    with PictureServer(pictures) as server, cat.open(allow_hosts=[server.host]) as app:
        server.plan("p0003.png", Reply(status=503))
        server.plan("p0007.png", Reply(status=404))
        source = cat.records([{"id": name, "image_url": server.url(name)} for name in pictures])

        # when
        first = app.run("catalogue", source)
        failed = {row.id: row for row in app.failures(first.job)}
        server.plan("p0003.png")
        again = app.retry(first.job)
        left = app.failures(first.job)

    # then
    assert (first.done, first.failed) == (10, 2)
    assert {row.code for row in failed.values()} == {"SOURCE_UNAVAILABLE", "SOURCE_NOT_FOUND"}
    row = failed["p0003.png"]
    assert (row.collection, row.stage, row.attempts) == ("images", "size", 1)
    assert "503" in row.message
    assert len(row.workers) == 1
    assert (again.done, again.failed) == (11, 1)
    assert [(row.id, row.code) for row in left] == [("p0007.png", "SOURCE_NOT_FOUND")]
    assert {name: server.requests[name] for name in ("p0000.png", "p0003.png", "p0007.png")} == {
        "p0000.png": 1,
        "p0003.png": 2,
        "p0007.png": 2,
    }


def test_m10_older_version_overwrites_nothing(shouting: CatalogueProject) -> None:
    """A record whose source version is older than the stored one changes nothing and calls nothing."""
    # given
    newer = shouting.records([{"id": "r", "name": "new", "modifiedTime": "2026-02-02T00:00:00Z"}], name="new.jsonl")
    older = shouting.records([{"id": "r", "name": "old", "modifiedTime": "2026-01-01T00:00:00Z"}], name="old.jsonl")

    # when
    with shouting.open() as app:
        app.run("catalogue", newer)
        summary = app.run("catalogue", older)
        found = loud(app)

    # then
    assert summary.inferred == 0
    assert found == {"r": "NEW"}
    assert calls(shouting) == ["new"]


def test_m10_same_event_twice_runs_nothing(shouting: CatalogueProject) -> None:
    """The same rows again, and one row twice in a source, infer each record once."""
    # given
    row = {"id": "r", "name": "once", "modifiedTime": "2026-02-02T00:00:00Z"}
    source = shouting.records([row, row])

    # when
    with shouting.open() as app:
        app.run("catalogue", source)
        again = app.run("catalogue", source)

    # then
    assert again.inferred == 0
    assert calls(shouting) == ["once"]


def test_m11_killed_twice_and_resumed(shouting: CatalogueProject, tmp_path: Path) -> None:
    """Killed twice over 2,000 records: the results of an undisturbed run, each inferred once but for tasks in hand."""
    # given
    task, in_flight = 20, 4
    shouting.edit('outputs={"loud": Text()})', f'outputs={{"loud": Text()}}, batch={task}, task_size={task})')
    shouting.records(named(2000))
    undisturbed = shouting.copy(tmp_path / "undisturbed")
    with undisturbed.open() as app:
        app.run("catalogue", undisturbed.folder / "records.jsonl")
        expected = loud(app)

    # when
    for done in (200, 900):
        killed = Process(shouting, "run('catalogue', 'records.jsonl', progress=tell)")
        killed.wait_for(done)
        killed.kill()
    with shouting.open(in_flight=in_flight) as app:
        summary = app.run("catalogue", shouting.folder / "records.jsonl")
        found = loud(app)

    # then
    assert (summary.done, summary.failed) == (2000, 0)
    assert found == expected
    called = calls(shouting)
    assert set(called) == {f"n{n}" for n in range(2000)}
    assert len(called) - 2000 <= 2 * task * (in_flight + 1)


def test_m15_windows_tile(shouting: CatalogueProject) -> None:
    """Windows of source versions that touch take every record in once, and an empty one is refused."""
    # given
    source = shouting.records([{**row, "source_version": n} for n, row in enumerate(named(30))])

    # when
    with shouting.open() as app:
        summaries = [app.run("catalogue", source, since=start, until=start + 10) for start in (0, 10, 20)]
        with pytest.raises(UsageError, match="No record lies in the scope"):
            app.run("catalogue", source, since=30, until=40)
        with pytest.raises(UsageError, match="No record lies in the scope"):
            app.run("catalogue", ids=[])

    # then
    assert [summary.records for summary in summaries] == [10, 10, 10]
    assert calls(shouting) == [f"n{n}" for n in range(30)]


def test_m15_ids_and_full(shouting: CatalogueProject) -> None:
    """Named records alone are run; an unknown one is named; a full look at what is current infers nothing."""
    # given
    source = shouting.records(named(10))

    # when
    with shouting.open() as app:
        some = app.run("catalogue", source, ids=["r00002", "r00005"])
        everything = app.run("catalogue", source)
        with pytest.raises(UsageError, match="images has no record nobody"):
            app.run("catalogue", ids=["nobody"])
        full = app.run("catalogue", full=True)

    # then
    assert (some.records, everything.inferred, full.inferred, full.records) == (2, 8, 0, 10)


def test_m16_poison_is_refused_before_storing(cat: CatalogueProject) -> None:
    """A vector that is not finite, of no length, too short or too long is OUTPUT_INVALID, and nothing is stored."""
    # given
    cat.write("stubs.py", STUBS)
    cat.stages(
        'Stage("poison", infer="stubs:Poison", reads={"kind": "kind"}, outputs={"vector": Vector(length=4, unit=True)})'
    )
    kinds = ["good", "nan", "infinite", "zero", "short", "scaled", "raises"]

    # when
    with cat.open() as app:
        summary = app.run("catalogue", cat.records([{"id": kind, "kind": kind} for kind in kinds]))
        codes = {row.id: row.code for row in app.failures(summary.job)}
        stored = [row.record.id for row in app.records("images") if row.values]

    # then
    assert adds_up(summary)
    assert codes == {**dict.fromkeys(kinds[1:-1], "OUTPUT_INVALID"), "raises": "MODEL_ERROR"}
    assert stored == ["good"]


def test_m19_required_and_optional(cat: CatalogueProject) -> None:
    """A record is done although an optional stage failed, and failed where a required one did."""
    # given
    cat.write("stubs.py", STUBS)
    cat.stages('Stage("odd", infer="stubs:odd", reads={"number": "number"}, required=False)')
    source = cat.records([{"id": str(n), "number": n} for n in range(4)])

    # when
    with cat.open() as app:
        optional = app.run("catalogue", source)
        known = {row.record.id: set(row.values) for row in app.records("images")}
    cat.edit("required=False", "required=True")
    with cat.open() as app:
        required = app.run("catalogue", source)

    # then
    assert (optional.done, optional.failed) == (4, 0)
    assert known == {"0": set(), "1": {"odd"}, "2": set(), "3": {"odd"}}
    assert (required.done, required.failed) == (2, 2)


def test_pf2_three_of_three_hundred_and_sixty_seven(cat: CatalogueProject) -> None:
    """Three missing assets hold nothing back: 364 are done in the first run and never called again."""
    # given
    cat.write(
        "stubs.py",
        """\
        from pathlib import Path

        def count(image: bytes) -> dict:
            with open("calls.log", "a") as log:
                log.write("call\\n")
            return {"bytes": len(image)}
        """,
    )
    cat.stages('Stage("count", infer="stubs:count", reads={"image": file("image_url")})')
    pictures = numbered_pictures(364)
    names = [*pictures, "missing-1.png", "missing-2.png", "missing-3.png"]
    with PictureServer(pictures) as server, cat.open(allow_hosts=[server.host], per_host=16) as app:
        source = cat.records([{"id": name, "image_url": server.url(name)} for name in names])

        # when
        summaries = [app.run("catalogue", source) for _ in range(3)]

    # then
    assert [(s.done, s.failed) for s in summaries] == [(364, 3)] * 3
    assert len(calls(cat)) == 364
    assert all(server.requests[name] == 1 for name in pictures)


def test_absent_and_unreadable_rows_are_counted(shouting: CatalogueProject) -> None:
    """A line that is no JSON, one without an id and a second record of one id and version are set aside and listed."""
    # given
    source = shouting.folder / "mixed.jsonl"
    good = {"id": "a", "name": "a", "version": 1}
    lines = [json.dumps(good), "{no json", json.dumps({"name": "nobody"}), json.dumps({**good, "name": "other"})]
    source.write_text("\n".join(lines) + "\n")

    # when
    with shouting.open() as app:
        summary = app.run("catalogue", source)

    # then
    assert (summary.done, summary.set_aside) == (1, 3)
    assert calls(shouting) == ["a"]
