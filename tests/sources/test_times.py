"""Times and windows."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import UsageError
from limner.sources.times import milliseconds, window

MOMENTS = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("2025-04-01T10:00:00Z", 1_743_501_600_000),
        ("2025-04-01T12:00:00+02:00", 1_743_501_600_000),
        ("2026-01-28T09:55:07.301842Z", 1_769_594_107_301),
        ("1969-12-31T23:59:59.999500Z", -1),
        ("1098-01-01T00:00:00Z", -27_517_622_400_000),
        ("-9999-01-01T00:00:00Z", -377_705_116_800_000),
    ],
)
def test_known_moments(text: str, expected: int) -> None:
    """Dates and times, with and without zone, before the epoch and before the year 1."""
    assert milliseconds(text) == expected


@given(moment=MOMENTS)
def test_every_moment_of_the_calendar(moment: datetime) -> None:
    """Every time that Python can write is read to the millisecond."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert milliseconds(moment.isoformat()) == (moment - epoch) // timedelta(milliseconds=1)


@pytest.mark.parametrize("text", ["", "soon", "2025", "2025-13-01", "2025-02-30", "20250401"])
def test_no_time(text: str) -> None:
    """What is no date is refused."""
    with pytest.raises(ValueError, match="is no date"):
        milliseconds(text)


@given(moment=MOMENTS)
def test_windows_tile(moment: datetime) -> None:
    """Neighbouring windows hold every moment exactly once."""
    # given
    first = window(until="2020-01-01")
    second = window(since="2020-01-01", until="2021-01-01")
    third = window(since="2021-01-01")

    # when
    at = milliseconds(moment.isoformat())

    # then
    assert [first.holds(at), second.holds(at), third.holds(at)].count(True) == 1


@pytest.mark.parametrize(
    ("since", "until", "sentence"),
    [("2020-01-01", "2020-01-01", "Nothing lies between"), ("x", None, "--since"), (None, "y", "--until")],
)
def test_windows_that_hold_nothing(since: str | None, until: str | None, sentence: str) -> None:
    """An empty window, or a bound that is no date, is a usage error that names the option."""
    with pytest.raises(UsageError, match=sentence):
        window(since=since, until=until)
