"""Waiting for what another thread or process does: no longer than it takes, and with a generous limit."""

import subprocess
import time
from collections.abc import Callable
from datetime import timedelta

#: Longer than anything that a test waits for takes on a machine that does much else.
LONG = timedelta(seconds=60)


def until(
    true: Callable[[], object], *, within: timedelta = LONG, during: "subprocess.Popen[str] | None" = None
) -> None:
    """
    Return as soon as *true* is; fail where it never is.

    *during*: the process that is to bring it about; its end ends the wait, and the test looks at what it left.
    """
    ends = time.monotonic() + within.total_seconds()
    while not true() and (during is None or during.poll() is None):
        assert time.monotonic() < ends, f"what was waited for did not happen within {within.total_seconds():g} s"
        # The pace of polling, nothing more.
        time.sleep(0.01)
