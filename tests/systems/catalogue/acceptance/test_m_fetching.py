"""M: pictures are fetched once, kindly, again where that helps, and cleaned up."""

from datetime import timedelta

import pytest

from limner.testing.picture_server import PictureServer, Reply
from tests.systems.catalogue.conftest import Library
from tests.systems.catalogue.projects import CatalogueProject, Process, adds_up, numbered_pictures, plain_picture, rows

STUBS = """\
    import time

    def sleeper(name: str) -> dict:
        time.sleep(1)
        return {"name": name}
"""


def test_m1_fetched_once_for_all_stages(library: Library) -> None:
    """Three stages read each picture, and the image server is asked once for each."""
    assert set(library.asked) == {picture.path.name for picture in library.drawn.pictures}
    assert set(library.asked.values()) == {1}
    assert library.summary.inferred >= 3 * len(library.ids)


def test_m1_second_run_asks_for_nothing(copied: Library) -> None:
    """A second run over the same source fetches nothing and calls no inferrer."""
    # given
    before = copied.server.total()

    # when
    with copied.project.open() as app:
        summary = app.run("catalogue", copied.project.folder / "images.jsonl")

    # then
    assert summary.inferred == 0
    assert copied.server.total() == before


def test_m2_nothing_is_left_of_what_was_fetched(measuring: CatalogueProject) -> None:
    """After a run in which one picture failed, no fetched file is left where the policy keeps none."""
    # given
    pictures = {**numbered_pictures(5), "bad.png": b"\x89PNG\r\n\x1a\n" + b"damaged" * 20 + b"IEND\xaeB`\x82"}
    with PictureServer(pictures) as server, measuring.open(allow_hosts=[server.host]) as app:
        # when
        summary = app.run("catalogue", measuring.records(rows(server, list(pictures))))

    # then
    assert (summary.done, summary.failed) == (5, 1)
    assert [path for path in (measuring.folder / ".limner/cache").rglob("*") if path.is_file()] == []


def test_m2_killed_run_is_cleaned_up_by_the_next(measuring: CatalogueProject) -> None:
    """What a killed process had fetched is gone once the next one has ended."""
    # given
    pictures = numbered_pictures(80)
    with PictureServer(pictures, delay=timedelta(seconds=0.03)) as server:
        measuring.write("limner.toml", f'allow_hosts = ["{server.host}"]\nper_host = 2\n')
        measuring.edit("batch=16", "batch=4, task_size=4")
        measuring.records(rows(server, list(pictures)))
        killed = Process(measuring, "run('catalogue', 'records.jsonl', progress=tell)")
        killed.wait_for(4)
        killed.kill()

        # when
        with measuring.open() as app:
            summary = app.run("catalogue", measuring.folder / "records.jsonl")

    # then
    assert summary.done == 80
    assert [path for path in (measuring.folder / ".limner/cache").rglob("*") if path.is_file()] == []


def test_m2_two_jobs_share_one_picture(measuring: CatalogueProject) -> None:
    """Two processes that want the same pictures at the same time both end well, and each is fetched once."""
    # given
    pictures = numbered_pictures(20)
    with PictureServer(pictures, delay=timedelta(seconds=0.02)) as server:
        measuring.write("limner.toml", f'allow_hosts = ["{server.host}"]\n')
        measuring.records(rows(server, list(pictures)))

        # when
        call = "run('catalogue', 'records.jsonl', progress=tell)"
        both = [Process(measuring, call), Process(measuring, call)]
        ends = [process.end() for process in both]

    # then
    assert ends == [(20, 0), (20, 0)]
    assert set(server.requests.values()) == {1}


def test_m3_stages_run_side_by_side(cat: CatalogueProject) -> None:
    """Three stages that sleep for a second each are through with one record in little more than a second."""
    # given
    cat.write("stubs.py", STUBS)
    cat.stages(
        "".join(
            f'Stage("s{n}", infer="stubs:sleeper", reads={{"name": "name"}}, isolation="thread"),\n' for n in range(3)
        )
    )

    # when
    with cat.open() as app:
        app.run("catalogue", cat.records([{"id": "one", "name": "one"}]))
        origins = app.why("images", "one").origins

    # then
    starts = [origin.started for origin in origins if origin.started is not None]
    ends = [origin.ended for origin in origins if origin.ended is not None]
    assert len(starts) == len(ends) == 3
    assert max(ends) - min(starts) < 1.6
    assert max(starts) < min(ends)


def test_m4_one_bad_of_three_hundred(measuring: CatalogueProject) -> None:
    """One unreadable picture costs one record: the other 299 are done."""
    # given
    pictures = numbered_pictures(300)
    pictures["p0150.png"] = pictures["p0150.png"][:40] + b"damaged" + pictures["p0150.png"][47:]
    with PictureServer(pictures) as server, measuring.open(allow_hosts=[server.host], per_host=16) as app:
        # when
        summary = app.run("catalogue", measuring.records(rows(server, list(pictures))))
        failures = app.failures(summary.job)

    # then
    assert (summary.done, summary.failed) == (299, 1)
    assert adds_up(summary)
    assert [(row.id, row.code) for row in failures] == [("p0150.png", "DECODE_FAILED")]


@pytest.mark.parametrize(
    ("replies", "requests"),
    [
        ([Reply(status=503), Reply(status=503), Reply()], 3),
        ([Reply(reset=True), Reply()], 2),
        ([Reply(status=429, retry_after="1"), Reply()], 2),
        ([Reply(body="cut"), Reply()], 2),
        ([Reply(body="empty"), Reply()], 2),
        ([Reply(body="html"), Reply()], 2),
    ],
    ids=["503", "reset", "429", "cut", "empty", "html"],
)
def test_m5_m6_passing_trouble_is_tried_again(measuring: CatalogueProject, replies: list[Reply], requests: int) -> None:
    """What a server may mend by itself is asked for again, and then it is done."""
    # given
    with PictureServer({"a.png": plain_picture((9, 9, 9))}) as server, measuring.open(allow_hosts=[server.host]) as app:
        server.plan("a.png", *replies)

        # when
        summary = app.run("catalogue", measuring.records(rows(server, ["a.png"])))

    # then
    assert (summary.done, summary.failed) == (1, 0)
    assert server.requests["a.png"] == requests
    assert summary.seconds >= (1.0 if replies[0].retry_after else 0.5)


def test_m5_m6_lasting_trouble_ends_with_its_code(measuring: CatalogueProject) -> None:
    """404 and 410 are asked for once; endless bad bodies four times; each ends with its own code."""
    # given
    expected = {
        "gone.png": (Reply(status=410), "SOURCE_NOT_FOUND", 1),
        "missing.png": (Reply(status=404), "SOURCE_NOT_FOUND", 1),
        "secret.png": (Reply(status=403), "SOURCE_FORBIDDEN", 1),
        "empty.png": (Reply(body="empty"), "SOURCE_TRUNCATED", 4),
        "half.png": (Reply(body="half"), "SOURCE_TRUNCATED", 4),
        "html.png": (Reply(body="html"), "SOURCE_WRONG_TYPE", 4),
        "down.png": (Reply(status=500), "SOURCE_UNAVAILABLE", 4),
    }
    pictures = {name: plain_picture((1, 2, 3), size=(90, 70)) for name in expected}
    with PictureServer(pictures) as server, measuring.open(allow_hosts=[server.host]) as app:
        for name, (reply, _, _) in expected.items():
            server.plan(name, reply)

        # when
        summary = app.run("catalogue", measuring.records(rows(server, list(pictures))))
        found = {row.id: (row.code, server.requests[row.id]) for row in app.failures(summary.job)}

    # then
    assert found == {name: (code, requests) for name, (_, code, requests) in expected.items()}


def test_m13_kind_to_the_image_server(measuring: CatalogueProject) -> None:
    """With a limit of four the server never has more than four requests at a time, and the rate is kept."""
    # given
    pictures = numbered_pictures(40)
    limits = {"per_host": 4, "per_host_rate": 50.0}
    slow = PictureServer(pictures, delay=timedelta(seconds=0.05))
    with slow as server, measuring.open(allow_hosts=[server.host], **limits) as app:
        # when
        summary = app.run("catalogue", measuring.records(rows(server, list(pictures))))

    # then
    assert summary.done == 40
    assert 1 < server.most_at_once <= 4
    assert summary.seconds >= 39 / 50
