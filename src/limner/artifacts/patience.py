"""Asking a server again while it is away: pauses that grow, and an end."""

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import structlog

from limner.errors import LimnerError

_log = structlog.get_logger(__name__)

#: First and longest wait before a server that could not be reached is asked again, in seconds.
_AGAIN = (0.2, 15.0)
_T = TypeVar("_T")


def patiently(call: Callable[[], _T], *, away: type[LimnerError], patience: timedelta, over: threading.Event) -> _T:
    """
    What *call* returns; while it raises *away* it is called again, for as long as *patience* and until *over* is set.

    Raises:
        LimnerError: the last *away*, once that is so; any other error at once.
    """
    ends = time.monotonic() + patience.total_seconds()
    pause, longest = _AGAIN
    while True:
        try:
            return call()
        except away as error:
            if time.monotonic() + pause > ends:
                raise
            _log.warning("server_unavailable", reason=str(error))
            # Several workers that lost the same server do not come back at the same moment.
            if over.wait(pause * random.uniform(0.5, 1.0)):
                raise
            pause = min(longest, 2 * pause)
