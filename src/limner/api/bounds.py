"""The outermost layer: sizes are bounded, requests are logged without their secrets, and nothing breaks unseen."""

import asyncio
import time
from collections.abc import Callable

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.api.problems import Refused, broken, problem, problem_of
from limner.errors import LimnerError

_log = structlog.get_logger(__name__)
#: Bodies that are read a piece at a time, into a file, and so are not bounded as a whole.
STREAMED = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
#: Requests that come too often to be worth a line each, unless they are refused or take long, in seconds.
_QUIET = ("/healthz", "/readyz", "/metrics", "/api/v1/tasks:take", "/api/v1/workers:heartbeat")
_HOT = {"POST": "/v2/models/", "GET": "/api/v1/collections/"}
_SLOW = 1.0
#: What a log says of a request whose sender went away before it was whole; not sent to anybody.
_GONE = 499


class Bounds:
    """Wraps the application; *max_bytes* is the setting ``max_request_bytes``."""

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, unbounded: Callable[[Scope], bool] = lambda scope: False
    ) -> None:
        self._app = app
        self._max = max_bytes
        self._unbounded = unbounded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        said = _Said(send)
        try:
            await self._app(scope, self._bounded(scope, receive), said)
        except LimnerError as error:
            await said.instead(problem_of(error), scope, receive)
        except ClientDisconnect:
            # A worker was killed, a phone lost its network: nobody is there to be told, and nothing broke here.
            said.status = _GONE
        except asyncio.CancelledError:
            # The server stops, and its grace is over; whoever waits is told before the line goes dead.
            await said.instead(problem(503, "The server is stopping; ask again."), scope, receive)
        except Exception:  # noqa: BLE001  whatever it is, the client gets a sentence and the log the traceback
            _log.exception("request_broke", method=scope["method"], path=scope["path"])
            await said.instead(broken(), scope, receive)
        finally:
            self._note(scope, said, took=time.monotonic() - began)

    def _note(self, scope: Scope, said: "_Said", *, took: float) -> None:
        """A line of the log: method, path, status and time, never a query, a header or a body."""
        method, path = scope["method"], scope["path"]
        if (said.status or 500) < 400 and took < _SLOW and (path.startswith(_HOT.get(method, "\0")) or path in _QUIET):
            return
        _log.info("request", method=method, path=path, status=said.status, ms=round(took * 1000, 1))

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """*receive*, until more came than may."""
        kind, declared = b"", b""
        for name, value in scope["headers"]:
            if name == b"content-type":
                kind = value
            elif name == b"content-length":
                declared = value
        if _streamed(kind) or self._unbounded(scope):
            return receive
        if declared.isdigit() and int(declared) > self._max:
            raise self._too_large()
        left = self._max

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise self._too_large()
            return message

        return bounded

    def _too_large(self) -> Refused:
        told = (
            f"The body is larger than {self._max} bytes, the setting max_request_bytes. Send the records as JSON Lines "
            "(application/x-ndjson), one a line, or name the address of such a file (manifest, sourceImagesUrl)."
        )
        return Refused(413, told)


class _Said:
    """Passes an answer on and remembers what was said, so that nothing is said twice."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def instead(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Send *response*, unless an answer was begun."""
        if self.status is None:
            await response(scope, receive, self)


def _streamed(kind: bytes) -> bool:
    return bool(kind) and kind.partition(b";")[0].strip().lower().decode("latin-1") in STREAMED
