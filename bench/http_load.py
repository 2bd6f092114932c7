"""Many clients of one HTTP server from one process: bare sockets, so that the client costs little beside the server."""

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(kw_only=True)
class Load:
    """What was answered."""

    #: Milliseconds that each took.
    took: list[float] = field(default_factory=list)
    seconds: float = 0.0
    #: Answers that were not 2xx.
    refused: int = 0
    #: The last body.
    last: bytes = b""

    def figures(self) -> dict[str, float]:
        """Requests a second and percentiles of what they took."""
        cuts = statistics.quantiles(self.took, n=100, method="inclusive") if len(self.took) > 1 else self.took * 99
        return {
            "rate": len(self.took) / self.seconds,
            "p50_ms": cuts[49],
            "p99_ms": cuts[98],
            "requests": len(self.took),
            "refused": self.refused,
        }


def request(method: str, url: str, body: bytes = b"", *, kind: str = "application/json") -> bytes:
    """A request as it travels."""
    parts = urlsplit(url)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    head = f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    if body:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class _Client(asyncio.Protocol):
    """One connection that sends the next request once the one before is answered."""

    def __init__(self, load: Load, *, following: Callable[[], bytes | None], done: asyncio.Future[None]) -> None:
        self._load = load
        self._following = following
        self._done = done
        self._buffer = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(_LENGTH)
        size = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + size:
            return
        self._load.took.append(1e3 * (time.perf_counter() - self._began))
        self._load.refused += head[9:10] != b"2"
        self._load.last = self._buffer[end + 4 :]
        self._buffer = b""
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server hung up"))

    def _ask(self) -> None:
        said = self._following()
        if said is None:
            if not self._done.done():
                self._done.set_result(None)
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(said)


def loaded(url: str, made: Callable[[int], bytes], *, clients: int, seconds: float) -> Load:
    """Ask *url* from *clients* connections for *seconds*; *made* gives the request of each number."""
    load = Load()
    parts = urlsplit(url)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        ends = time.perf_counter() + seconds
        count = 0

        def following() -> bytes | None:
            nonlocal count
            if time.perf_counter() >= ends:
                return None
            count += 1
            return made(count)

        waiting = [loop.create_future() for _ in range(clients)]
        began = time.perf_counter()
        for done in waiting:
            await loop.create_connection(
                lambda done=done: _Client(load, following=following, done=done),  # type: ignore[misc]
                parts.hostname,
                parts.port,
            )
        await asyncio.gather(*waiting)
        load.seconds = time.perf_counter() - began

    asyncio.run(run())
    return load
