"""How much memory a child process holds beyond what it held at its start."""

import contextlib
import os
from pathlib import Path

MEGABYTE = 1_000_000


class Growth:
    """
    Watches one process after another; without a *limit* none has ever grown.

    Its start is the end of its first call: models, contexts and caches that a call brings in are there to stay, and
    a new process would bring them in again.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._start: int | None = None
        #: Calls that the process answered.
        self.calls = 0

    def begin(self) -> None:
        """A new process was started."""
        self._start, self.calls = None, 0

    def called(self, pid: int) -> None:
        """It answered a call."""
        self.calls += 1
        if self.calls == 1:
            self._start = resident(pid)

    def grown(self, pid: int) -> int:
        """Bytes by which the process grew, if they are more than the limit; else 0."""
        if self._limit is None or self._start is None:
            return 0
        grown = (resident(pid) or 0) - self._start
        return grown if grown > self._limit else 0


def resident(pid: int) -> int | None:
    """Bytes of memory that a process alone holds, without files that are mapped; None where this cannot be known."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        pages = Path(f"/proc/{pid}/statm").read_text().split()
        return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")
    return None
