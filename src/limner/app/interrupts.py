"""Ctrl-C during a run: heard at once, and obeyed where nothing is half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


class Interrupts:
    """
    While the block runs, the first Ctrl-C waits for :meth:`heed`; the second is Python's own again.

    Python raises KeyboardInterrupt between any two instructions. One that comes while a transaction is begun or ended
    leaves it open for as long as the exception is on its way, and what is to be written down last waits for its lock.

    In a thread that is not the main one, and where the program has set a handler of its own, nothing changes.
    """

    def __init__(self) -> None:
        self._asked = False
        self._at_once = False
        self._held = False

    def __enter__(self) -> Self:
        """Begin to hold Ctrl-C back."""
        self._asked = self._at_once = False
        ours = threading.current_thread() is threading.main_thread()
        self._held = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._held:
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave Ctrl-C to Python again; one that nobody heeded is raised now."""
        if self._held:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if error is None:
            self.heed()

    def heed(self) -> None:
        """
        Stop here if that was asked for.

        Raises:
            KeyboardInterrupt: it was.
        """
        if self._asked:
            raise KeyboardInterrupt

    def between(self, items: Iterator[T]) -> Iterator[T]:
        """*items*, each of which may take as long as it likes: Ctrl-C does not wait for one."""
        with suppress(StopIteration):
            while True:
                self._at_once = True
                try:
                    self.heed()
                    item = next(items)
                finally:
                    self._at_once = False
                yield item

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._asked or self._at_once:
            signal.default_int_handler(number, frame)
        self._asked = True
