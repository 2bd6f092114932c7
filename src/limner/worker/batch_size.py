"""How many records a call is given: fewer for a while, after one that found no memory."""

import time
from collections.abc import Callable
from datetime import timedelta

#: How long a smaller size is kept before the declared one is tried again.
KEPT = timedelta(minutes=10)


class BatchSize:
    """The most records that a call of one inferrer is given; *now* counts seconds and never goes back."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._most: int | None = None
        self._until = 0.0

    def most(self) -> int | None:
        """The most records that memory is known to suffice for; None where nothing speaks against more."""
        if self._most is not None and self._now() >= self._until:
            self._most = None
        return self._most

    def too_many(self, count: int) -> None:
        """A call with *count* records found no memory: from now on half of them."""
        self._most, self._until = max(1, count // 2), self._now() + KEPT.total_seconds()

    def restore(self, most: int | None) -> None:
        """Go back to *most*: a record that found no memory alone was to blame, and not the size."""
        self._most = most
