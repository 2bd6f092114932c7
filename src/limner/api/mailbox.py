"""What other threads have done, handed to the event loop: one wake-up for all that came together."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Mailbox(Generic[_T]):
    """
    Results for futures of one and the same event loop.

    A batch ends for all of its requests at once; to wake the loop for each of them cost more than to tell them.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Future[_T], _T]] = deque()
        self._called = False

    def put(self, future: "asyncio.Future[_T]", result: _T) -> None:
        """Have *future* end with *result*, from any thread; one that was given up stays so."""
        self._waiting.append((future, result))
        # It is set back before the letters are taken out: what is put in after that calls again, perhaps for nothing.
        if not self._called:
            self._called = True
            future.get_loop().call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._called = False
        while self._waiting:
            future, result = self._waiting.popleft()
            if not future.done():
                future.set_result(result)
