"""Pages of a callback: full, below their size, and nothing cut."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from limner.app.callback_body import Hosting
from limner.app.callback_pages import Format, formats_of, pages_of, sent_body
from limner.domain.jobs import Job, JobState
from limner.domain.systems import System
from limner.domain.values import Value
from limner.errors import ConfigurationError
from tests.app.calling import Desk

JOB = Job(id="j", pipeline="p", state=JobState.DONE)
MAX = 20_000


def rows(host: Hosting, job: Job, keys: Sequence[int]) -> dict[str, Value]:
    """One row a record, as long as its key says: a thousand bytes for each thousand."""
    return {"job": job.id, "page": None, "rows": [{"key": key, "fill": "x" * (key // 1000 * 1000)} for key in keys]}


def split(body: dict[str, Value], max_bytes: int) -> list[dict[str, Value]]:
    """The one row of a body, its filling divided."""
    (row,) = body["rows"]
    half = max_bytes // 2
    fills = [row["fill"][at : at + half] for at in range(0, len(row["fill"]), half)]
    return [{**body, "rows": [{**row, "fill": fill}]} for fill in fills]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A project."""
    made = Desk(tmp_path / "project")
    yield made
    made.close()


def sent(desk: Desk, keys: Sequence[int], *, format_: Format) -> list[bytes]:
    """The bodies that are sent for some records."""
    found = list(pages_of(desk.host, JOB, keys, format_=format_, max_bytes=MAX))
    return [
        sent_body(one.body, webhook_id=one.webhook_id, page=at, pages=len(found))
        for at, one in enumerate(found, start=1)
    ]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 5000])
def test_every_record_is_in_one_page(desk: Desk, size: int) -> None:
    """Pages are disjoint, in order, below the limit, and say which of how many they are."""
    keys = list(range(size))

    bodies = sent(desk, keys, format_=Format(body=rows))

    documents = [json.loads(body) for body in bodies]
    assert [row["key"] for one in documents for row in one["rows"]] == keys
    assert all(len(body) <= MAX for body in bodies)
    assert [one["page"] for one in documents] == [{"n": n + 1, "of": len(bodies)} for n in range(len(bodies))]


def test_pages_are_full(desk: Desk) -> None:
    """Halving is the exception: of many records alike there are few more pages than their bytes need."""
    keys = list(range(1000, 3000))

    bodies = sent(desk, keys, format_=Format(body=rows))

    assert len(bodies) <= 1.6 * sum(map(len, bodies)) / MAX


def test_large_record_among_small_ones_is_split(desk: Desk) -> None:
    """It is divided by the format's own function, its neighbours are not, and no byte is lost."""
    keys = [1, 2, 50_000, 3, 4]

    bodies = sent(desk, keys, format_=Format(body=rows, split=split))

    told = [row for body in bodies for row in json.loads(body)["rows"]]
    assert all(len(body) <= MAX for body in bodies)
    assert list(dict.fromkeys(row["key"] for row in told)) == keys
    assert sum(len(row["fill"]) for row in told if row["key"] == 50_000) == 50_000


def test_record_that_cannot_be_split_is_sent_whole(desk: Desk) -> None:
    """Too large is better than cut, and is said in the log."""
    with capture_logs() as logs:
        bodies = sent(desk, [1, 50_000], format_=Format(body=rows))

    assert len(json.loads(bodies[1])["rows"][0]["fill"]) == 50_000
    assert [line["event"] for line in logs] == ["callback_page_too_large"]


def test_body_without_a_place_for_its_page_gets_none(desk: Desk) -> None:
    """A strict format is sent exactly as it is made."""
    strict = Format(body=lambda host, job, keys: {"data": list(keys)})

    assert [json.loads(body) for body in sent(desk, [1, 2], format_=strict)] == [{"data": [1, 2]}]


def test_record_cannot_take_the_place_of_the_page(desk: Desk) -> None:
    """Whatever stands in a record, only the page's own place is filled in."""
    (body,) = sent(desk, [1], format_=Format(body=lambda host, job, keys: {"row": "the place of msg_", "page": None}))

    assert json.loads(body) == {"row": "the place of msg_", "page": {"n": 1, "of": 1}}


def test_systems_bring_formats() -> None:
    """A system names its function, and its module's split belongs to it; what is no function is refused."""
    mine = System(name="mine", about="", callbacks={"rows": f"{__name__}:rows"})
    wrong = System(name="wrong", about="", callbacks={"rows": f"{__name__}:JOB"})

    found = formats_of({"mine": mine})

    assert found["rows"].body.__name__ == "rows"
    assert found["rows"].split is not None
    assert set(found) == {"limner", "rows"}
    with pytest.raises(ConfigurationError, match="no function"):
        formats_of({"wrong": wrong})
