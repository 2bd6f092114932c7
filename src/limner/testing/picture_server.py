"""A small picture server on loopback that counts what it is asked and misbehaves as told."""

import hashlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote

from msgspec import Struct

_HTML = b"<!doctype html><title>Please wait</title><p>The server is busy."
_HUGE = 60_000_000


class Reply(Struct, frozen=True, kw_only=True):
    """How one request is answered; by default with the picture."""

    status: int = 200
    #: ``picture``; ``empty``; ``html``; ``half`` of the picture as if it were whole; ``cut``, which promises the whole
    #: and hangs up in the middle; ``huge``, 60 MB of zeros.
    body: str = "picture"
    #: Hang up at once, without an answer.
    reset: bool = False
    #: Wait before answering.
    delay: timedelta = timedelta()
    #: Wait before each byte of the body.
    drip: timedelta = timedelta()
    #: What ``Retry-After`` says: seconds, or a date.
    retry_after: str | None = None
    #: Send the client to this address.
    redirect: str | None = None
    #: Leave out the body's length, the ``ETag`` or both.
    no_length: bool = False
    no_etag: bool = False


class PictureServer:
    """
    Serves pictures from a folder or from memory on ``127.0.0.1``; used with ``with``, and asked for its counts after.

    *pictures* is a folder, or the bytes by name; the bytes may be replaced while it serves. *plan* says by name how
    the first, second, … request is answered; the last reply of a plan goes on for ever.
    """

    def __init__(
        self,
        pictures: Path | MutableMapping[str, bytes],
        *,
        plan: Mapping[str, Sequence[Reply]] | None = None,
        delay: timedelta = timedelta(),
    ) -> None:
        self.pictures = pictures
        #: Wait before every answer, so that requests overlap.
        self.delay = delay
        #: Requests by name of the picture.
        self.requests: Counter[str] = Counter()
        #: Requests by name that were answered "not modified".
        self.not_modified: Counter[str] = Counter()
        #: Requests that were being answered at the same moment, at most.
        self.most_at_once = 0
        self._plan = {name: list(replies) for name, replies in (plan or {}).items()}
        self._now = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="picture-server")

    def __enter__(self) -> "PictureServer":
        """Serve until the block ends."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up on everybody."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        """Host and port, as ``allow_hosts`` takes them."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def url(self, name: str) -> str:
        """The address of the picture *name*."""
        return f"http://{self.host}/{name}"

    def plan(self, name: str, *replies: Reply) -> None:
        """From now on answer requests for *name* so; without replies, with the picture."""
        with self._lock:
            self._plan[name] = list(replies)

    def total(self, names: Iterable[str] | None = None) -> int:
        """Requests so far, of all pictures or of *names*."""
        with self._lock:
            return sum(self.requests.values()) if names is None else sum(self.requests[name] for name in names)

    def wait(self, time: timedelta) -> bool:
        """Let *time* pass, unless the server ends before; whether it goes on."""
        return not self._stopped.wait(time.total_seconds()) if time else not self._stopped.is_set()

    def begin(self, name: str) -> Reply:
        """Count a request for *name*; how it is answered."""
        with self._lock:
            self.requests[name] += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            replies = self._plan.get(name) or [Reply()]
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def end(self, name: str, *, not_modified: bool) -> None:
        """Count the end of a request for *name*."""
        with self._lock:
            self._now -= 1
            self.not_modified[name] += not_modified

    def picture(self, name: str) -> bytes | None:
        """The bytes of the picture *name*, None where there is none."""
        if not isinstance(self.pictures, Path):
            return self.pictures.get(name)
        path = (self.pictures / name).resolve()
        inside = path.is_relative_to(self.pictures.resolve()) and path.is_file()
        return path.read_bytes() if inside else None


class _Server(ThreadingHTTPServer):
    """The listening socket; every connection has a thread."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, pictures: PictureServer) -> None:
        self.pictures = pictures
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # Pictures go out at once, and an idle connection does not keep its thread for ever.
    disable_nagle_algorithm = True
    timeout = 30
    server: _Server

    def do_GET(self) -> None:
        """Answer a request as planned."""
        pictures = self.server.pictures
        name = unquote(self.path.partition("?")[0].lstrip("/"))
        reply = pictures.begin(name)
        body = pictures.picture(name)
        unchanged = False
        try:
            if not (pictures.wait(pictures.delay) and pictures.wait(reply.delay)):
                self.close_connection = True
            elif reply.reset:
                self._reset()
            elif body is None and reply.body == "picture" and reply.redirect is None and reply.status == 200:
                self._send(Reply(status=404, no_etag=True), body=_HTML)
            else:
                unchanged = self._answer(reply, picture=body or b"")
        finally:
            pictures.end(name, not_modified=unchanged)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def _answer(self, reply: Reply, *, picture: bytes) -> bool:
        """Send what *reply* says; whether that was "not modified"."""
        bodies = {
            "picture": picture,
            "cut": picture,
            "empty": b"",
            "html": _HTML,
            "half": picture[: len(picture) // 2],
            "huge": bytes(_HUGE) if reply.body == "huge" else b"",
        }
        body = bodies[reply.body] if reply.status == 200 or reply.body != "picture" else _HTML
        asked = self.headers.get("If-None-Match")
        if asked is not None and reply.status == 200 and not reply.no_etag and asked == _etag(body):
            self._send(Reply(status=304), body=b"")
            return True
        self._send(reply, body=body)
        return False

    def _send(self, reply: Reply, *, body: bytes) -> None:
        """Send status, headers and body, as slowly and as incompletely as *reply* says."""
        self.send_response(302 if reply.redirect else reply.status)
        for header, value in {"Retry-After": reply.retry_after, "Location": reply.redirect}.items():
            if value is not None:
                self.send_header(header, value)
        if reply.status == 200 and not (reply.no_etag or reply.redirect or reply.body == "huge"):
            self.send_header("ETag", _etag(body))
        if reply.no_length:
            self.send_header("Connection", "close")
        elif reply.status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if reply.body == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        if not reply.drip:
            self.wfile.write(body)
            return
        for at in range(len(body)):
            if not self.server.pictures.wait(reply.drip):
                break
            self.wfile.write(body[at : at + 1])

    def _reset(self) -> None:
        """Hang up so that the client sees a connection reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'
