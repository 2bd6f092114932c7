"""Times as sources and users write them, in milliseconds since 1970."""

import re
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from limner.errors import UsageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
#: The calendar repeats itself after 400 years.
_CYCLE_YEARS, _CYCLE = 400, timedelta(days=146_097)
_YEAR = re.compile(r"[+-]?\d{4,6}(?=-\d\d)")


class Window(Struct, frozen=True, kw_only=True):
    """A half-open stretch of time, so that neighbouring windows tile without gap or overlap."""

    #: Milliseconds since 1970, itself included; None is the beginning of time.
    since: int | None = None
    #: Milliseconds since 1970, itself excluded; None is the end of time.
    until: int | None = None

    def holds(self, moment: int) -> bool:
        """Whether *moment*, in milliseconds since 1970, lies in the window."""
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


def milliseconds(text: str) -> int:
    """
    The ISO-8601 date or time *text* in milliseconds since 1970, rounded down.

    Without a zone it is UTC, without a time it is midnight. Years may be negative or above 9999, as library
    catalogues have them (proleptic Gregorian, year 0 included).

    Raises:
        ValueError: *text* is no such date.
    """
    year = _YEAR.match(text)
    if year is None:
        raise ValueError(f"{text!r} is no date as YYYY-MM-DD or time as YYYY-MM-DDTHH:MM:SSZ")
    number = int(year[0])
    cycles = (number - 2000) // _CYCLE_YEARS
    try:
        moment = datetime.fromisoformat(f"{number - cycles * _CYCLE_YEARS}{text[year.end() :]}")
    except ValueError:
        raise ValueError(f"{text!r} is no date as YYYY-MM-DD or time as YYYY-MM-DDTHH:MM:SSZ") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND + cycles * (_CYCLE // _MILLISECOND)


def window(*, since: str | None = None, until: str | None = None) -> Window:
    """
    The window of ``--since`` and ``--until``; *until* itself is not in it.

    Raises:
        UsageError: one is no date, or nothing lies between them.
    """
    made = Window(since=_bound("--since", since), until=_bound("--until", until))
    if made.since is not None and made.until is not None and made.since >= made.until:
        raise UsageError(f"Nothing lies between --since {since} and --until {until}; --until itself is not in it.")
    return made


def _bound(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return milliseconds(text)
    except ValueError as error:
        raise UsageError(f"{option} {error}.") from None
