"""A server as a worker sees it that reaches nothing but the bus: letters there, replies back."""

import random
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import msgspec
import structlog

from limner.bus import letters
from limner.bus.base import Bus
from limner.bus.letters import CHUNK, REPLIES, WORKERS, Ask, Chunk, Letter, Reply
from limner.errors import BusUnavailable, ServerRefused, ServerUnavailable

_log = structlog.get_logger(__name__)

#: How long an answer is waited for.
_PATIENCE = timedelta(seconds=30)
#: One look for replies; then it is seen whether anybody waits still.
_LOOK = timedelta(seconds=1)
#: First and longest wait before a bus that could not be reached is asked for replies again, in seconds.
_AGAIN = (0.1, 5.0)
#: Mentions whose answers are listened for.
_MENTIONED = 100
_T = TypeVar("_T")


class MailClient:
    """
    One worker's correspondence with the server behind *bus*; shared by threads.

    Whatever is asked may be asked again: the server may have been away, or its answer lost.
    """

    def __init__(self, bus: Bus, *, worker: str, shown: str) -> None:
        """*shown* is how the bus is called in sentences."""
        self.bus = bus
        self.url = shown
        #: Set: nobody waits for the server any more.
        self.over = threading.Event()
        self._worker = worker
        # Two workers of the same name must not read each other's replies.
        self._reply = f"{REPLIES}/{worker}-{uuid4().hex[:8]}"
        self._waiting: dict[str, Callable[[Reply], None]] = {}
        self._mentioned: deque[str] = deque()
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="replies", daemon=True)
        self._reader.start()

    def ask(self, path: str, *, type: type[_T]) -> _T:
        """What the server answers to a question, as JSON of a type; raises as :meth:`tell`."""
        return self._decoded(self._call(path, b"", patience=_PATIENCE), type=type)

    def tell(self, path: str, said: object, *, type: type[_T], patience: timedelta = _PATIENCE) -> _T:
        """
        What the server answers to what it is told, both JSON.

        Raises:
            ServerUnavailable: the bus cannot be reached, or nobody answers; asking again is safe.
            ServerRefused: what is said is not accepted.
        """
        return self._decoded(self._call(path, msgspec.json.encode(said), patience=patience), type=type)

    def mention(self, path: str, said: object, *, heard: Callable[[bytes], None]) -> None:
        """
        Tell the server something without waiting; *heard* is called with the answer, if there ever is one.

        Raises:
            BusUnavailable: the bus cannot be reached.
        """

        def answered(reply: Reply) -> None:
            if reply.status < 300:
                heard(reply.body)

        letter = self._letter(path, msgspec.json.encode(said))
        with self._lock:
            self._waiting[letter.id] = answered
            self._mentioned.append(letter.id)
            # Whether those before the last few are answered, nobody asks any more.
            old = self._mentioned.popleft() if len(self._mentioned) > _MENTIONED else ""
            self._waiting.pop(old, None)
        self.bus.publish(WORKERS, [letters.encode(letter)])

    def exists(self, sha256: str) -> bool:
        """Whether the server has an artifact; raises as :meth:`tell`."""
        return self._decoded(self._call("artifacts:has", _asked(sha256), patience=_PATIENCE), type=bool)

    def download(self, sha256: str, *, to: Path) -> None:
        """Write an artifact that the server has to a file, a part at a time; raises as :meth:`tell`."""
        with to.open("wb") as file:
            offset, total = 0, 1
            while offset < total:
                chunk = letters.chunk_of(self._call("artifacts:get", _asked(sha256, offset), patience=_PATIENCE))
                file.write(chunk.data)
                offset, total = offset + len(chunk.data), chunk.total
                if not chunk.data and offset < total:
                    raise ServerUnavailable(f"{self.url} gave {offset} of {total} bytes of the artifact {sha256}.")

    def upload(self, sha256: str, file: Path) -> None:
        """Hand a file in, a part at a time, from where the server says that it is; raises as :meth:`tell`."""
        total = file.stat().st_size
        with file.open("rb") as opened:
            offset = 0
            while True:
                opened.seek(offset)
                chunk = Chunk(sha256=sha256, offset=offset, total=total, data=opened.read(CHUNK))
                said = self._call("artifacts:put", letters.encode(chunk), patience=_PATIENCE)
                offset = self._decoded(said, type=int)
                if offset >= total:
                    return

    def close(self) -> None:
        """Wait for nothing more, and hang up."""
        self.over.set()
        self.bus.close()
        self._reader.join(5.0)

    def _call(self, path: str, body: bytes, *, patience: timedelta) -> bytes:
        """Write a letter, and wait for its reply."""
        letter = self._letter(path, body)
        done: Future[Reply] = Future()
        with self._lock:
            self._waiting[letter.id] = done.set_result
        try:
            self.bus.publish(WORKERS, [letters.encode(letter)])
            reply = done.result(patience.total_seconds())
        except BusUnavailable as error:
            raise ServerUnavailable(str(error)) from error
        except Late as error:
            told = f"No server answers at {self.url}: nobody read {path} within {patience.total_seconds():g} s."
            raise ServerUnavailable(told) from error
        finally:
            self._forget(letter.id)
        if reply.status >= 500:
            raise ServerUnavailable(f"{self.url} answered {reply.status}: {reply.problem}")
        if reply.status >= 300:
            raise ServerRefused(f"{self.url} answered {reply.status}: {reply.problem}", status=reply.status)
        return reply.body

    def _letter(self, path: str, body: bytes) -> Letter:
        return Letter(id=uuid4().hex, worker=self._worker, reply=self._reply, path=path, body=body)

    def _forget(self, letter: str) -> None:
        with self._lock:
            self._waiting.pop(letter, None)

    def _read(self) -> None:
        """Read replies for as long as anybody may wait for one."""
        pause = _AGAIN[0]
        while not self.over.is_set():
            try:
                found = self.bus.take([self._reply], limit=16, wait=_LOOK)
                self.bus.acknowledge(found)
                for delivery in found:
                    self._heard(delivery.body)
                pause = _AGAIN[0]
            except BusUnavailable as error:
                _log.warning("bus_unavailable", topic=REPLIES, reason=str(error))
                self.over.wait(pause * random.uniform(0.5, 1.0))
                pause = min(_AGAIN[1], 2 * pause)

    def _heard(self, body: bytes) -> None:
        try:
            reply = letters.reply_of(body)
        except msgspec.DecodeError as error:
            _log.error("reply_unreadable", reason=str(error))
            return
        with self._lock:
            heard = self._waiting.pop(reply.id, None)
        if heard is not None:
            heard(reply)

    def _decoded(self, body: bytes, *, type: type[_T]) -> _T:
        try:
            return msgspec.json.decode(body, type=type)
        except msgspec.DecodeError as error:
            raise ServerRefused(f"{self.url} does not answer as a Limner server does: {error}", status=0) from error


def _asked(sha256: str, offset: int = 0) -> bytes:
    return msgspec.json.encode(Ask(sha256=sha256, offset=offset))
