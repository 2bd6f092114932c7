"""Waiting for something that another thread or process does, no longer than it takes."""

import threading
import time
from collections.abc import Callable

_PAUSE = threading.Event()


def until(holds: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Return as soon as *holds* does; fail if it never does."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come about in time"
        _PAUSE.wait(0.01)
