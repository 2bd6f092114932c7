"""How many workers a backlog asks for, which of those that are there go, and when lost ones come again: pure rules."""

from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct

_LONGEST = timedelta(minutes=1)


class Bounds(Struct, frozen=True, kw_only=True):
    """How many workers there may be, and for how much."""

    least: int = 0
    most: int = 10
    #: Open records for each worker that is started.
    records_per_worker: int = 1000
    #: Workers go once fewer were asked for all this time.
    cooldown: timedelta = timedelta(minutes=5)


def asked_for(backlog: int, bounds: Bounds) -> int:
    """How many workers so many open records ask for."""
    return max(bounds.least, min(bounds.most, -(-backlog // bounds.records_per_worker)))


class Recent(Struct, frozen=True):
    """How many workers were asked for of late; as many are kept as were asked for at most within the cooldown."""

    #: When, in seconds, and how many: from the most to the latest.
    asks: tuple[tuple[float, int], ...] = ()

    def heard(self, workers: int, *, now: float, cooldown: timedelta) -> "Recent":
        """As it is after so many were asked for *now*; what lies as far back as the *cooldown* counts no more."""
        # An ask that a later one reaches will never be the most again.
        kept = [(at, many) for at, many in self.asks if many > workers and now - at < cooldown.total_seconds()]
        return Recent((*kept, (now, workers)))

    @property
    def wanted(self) -> int:
        """How many there should be; none before the first ask."""
        return self.asks[0][1] if self.asks else 0


def surplus(placed: Sequence[bool], *, wanted: int) -> list[int]:
    """
    Which workers go, by their places in *placed*, so that no more than *wanted* are left.

    *placed* says of each, oldest first, whether it has begun: who waits for a machine goes first, then the youngest.
    """
    leaving = sorted(range(len(placed)), key=lambda at: (placed[at], -at))
    return leaving[: max(0, len(placed) - wanted)]


def pause_after(losses: int) -> timedelta:
    """How long no worker is started once so many were lost one after the other: longer and longer, up to a minute."""
    return min(_LONGEST, timedelta(seconds=2 ** min(losses - 1, 10))) if losses else timedelta()
