"""What a far worker has said and the server has not taken yet: in memory, and on disk above a bound."""

import tempfile
import threading
from collections import deque
from datetime import timedelta
from pathlib import Path

from msgspec import Struct

MEGABYTE = 1_000_000


class Kept(Struct, frozen=True, kw_only=True, eq=False):
    """One message that the server must hear of."""

    #: Where it is posted.
    path: str
    #: The lease token that came with the task.
    token: str
    size: int
    #: The encoded message, or the file that holds it.
    body: bytes | Path

    def read(self) -> bytes:
        """The encoded message."""
        return self.body if isinstance(self.body, bytes) else self.body.read_bytes()


class Outbox:
    """Messages in the order in which they were said; what would take more than *in_memory* bytes goes to files."""

    def __init__(self, *, in_memory: int = 16 * MEGABYTE) -> None:
        self._in_memory = in_memory
        self._kept: deque[Kept] = deque()
        self._changed = threading.Condition()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._closed = False
        self._number = 0
        #: Bytes in memory and in files.
        self.held = 0
        self.filed = 0

    def add(self, body: bytes, *, path: str, token: str) -> None:
        """Keep a message until it is dropped."""
        with self._changed:
            place: bytes | Path = body
            if self.held + len(body) > self._in_memory:
                place = self._file(body)
                self.filed += len(body)
            else:
                self.held += len(body)
            self._kept.append(Kept(path=path, token=token, size=len(body), body=place))
            self._changed.notify_all()

    def first(self, *, most: int, bytes_at_most: int, wait: timedelta) -> list[Kept]:
        """The oldest messages for one place, kept still; empty when the time is up, or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._kept or self._closed, wait.total_seconds())
            chosen: list[Kept] = []
            total = 0
            for kept in self._kept:
                total += kept.size
                if chosen and (len(chosen) == most or kept.path != chosen[0].path or total > bytes_at_most):
                    break
                chosen.append(kept)
            return chosen

    def drop(self, done: list[Kept]) -> None:
        """Forget the oldest messages, *done*: the server has taken them."""
        with self._changed:
            for kept in done:
                self._kept.popleft()
                if isinstance(kept.body, Path):
                    kept.body.unlink(missing_ok=True)
                    self.filed -= kept.size
                else:
                    self.held -= kept.size
            self._changed.notify_all()

    def wait_empty(self, within: timedelta) -> bool:
        """Wait until everything was taken; whether it was."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._kept or self._closed, within.total_seconds())

    def count(self) -> int:
        """How many messages are kept."""
        with self._changed:
            return len(self._kept)

    def close(self) -> None:
        """Forget everything, and wake whoever waits."""
        with self._changed:
            self._closed = True
            self._kept.clear()
            self._changed.notify_all()
            if self._folder is not None:
                self._folder.cleanup()

    @property
    def closed(self) -> bool:
        """Whether nothing more comes."""
        return self._closed

    def _file(self, body: bytes) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="limner-answers-", ignore_cleanup_errors=True)
        self._number += 1
        file = Path(self._folder.name) / str(self._number)
        file.write_bytes(body)
        return file
