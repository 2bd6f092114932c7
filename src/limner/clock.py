"""What time it is: the system's clock, or one that moves when told."""

import time
from datetime import timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time; handed in, so that tests can move it."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()


class MovedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, *, start: float = 1_700_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds since the epoch, UTC, as last moved."""
        return self._now

    def move(self, step: timedelta) -> None:
        """Move on by *step*; a negative one sets the clock back."""
        self._now += step.total_seconds()
