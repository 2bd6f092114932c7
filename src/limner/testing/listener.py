"""A receiver of callbacks on loopback that verifies what comes and misbehaves as told; an example to copy, too."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from msgspec import Struct


class Received(Struct, frozen=True, kw_only=True):
    """One call that came."""

    #: Header names in small letters.
    headers: Mapping[str, str]
    body: bytes
    #: What was wrong with it; empty where token and signature are right.
    problems: Sequence[str]
    #: What it was answered.
    status: int

    @property
    def webhook_id(self) -> str:
        """The same in every try of one page: whoever keeps it takes each page once."""
        return self.headers.get("webhook-id", "")

    @property
    def document(self) -> dict[str, object]:
        """The body, decoded."""
        found: dict[str, object] = json.loads(self.body)
        return found


class CallbackListener:
    """
    Receives callbacks on ``127.0.0.1``; used with ``with``.

    *token* is what ``Authorization`` must hold, *secret* what the signature must be made with (the token where it is
    empty, as Limner does). What is wrong is answered with 401. Every call is kept, whatever it was answered.
    """

    def __init__(self, *, token: str = "", secret: str = "") -> None:
        self.token = token
        self.secret = secret
        #: Calls in the order in which they came.
        self.received: list[Received] = []
        #: Calls that were being answered at the same moment, at most.
        self.most_at_once = 0
        self._now = 0
        self._answers: list[int] = []
        self._headers: dict[str, str] = {}
        self._released = threading.Event()
        self._released.set()
        self._came = threading.Condition()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    def __enter__(self) -> Self:
        """Listen until the block ends."""
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up on everybody."""
        self.down()

    @property
    def host(self) -> str:
        """Host and port, as ``allow_hosts`` takes them; they stay the same while it is down."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Where callbacks are sent."""
        return f"http://{self.host}/callback"

    @property
    def accepted(self) -> list[Received]:
        """The calls that were answered with 2xx."""
        return [one for one in self.received if 200 <= one.status < 300]

    def up(self) -> None:
        """Listen, on the same port as before."""
        self._server = _Server(self, port=self._port)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="callback-listener")
        self._thread.start()

    def down(self) -> None:
        """Refuse connections until it is up again."""
        self.release()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None

    def answer(self, *statuses: int, headers: Mapping[str, str] | None = None) -> None:
        """Answer the next calls so, whatever they hold: ``answer(500, 500)``."""
        with self._came:
            self._answers = list(statuses)
            self._headers = dict(headers or {})

    def hang(self) -> None:
        """Answer nobody before :meth:`release`."""
        self._released.clear()

    def release(self) -> None:
        """Answer those who wait."""
        self._released.set()

    def wait_for(self, count: int, *, timeout: float = 60.0) -> bool:
        """Wait until *count* calls came, those that hang included; whether they did."""
        with self._came:
            return self._came.wait_for(lambda: len(self.received) + self._now >= count, timeout)

    def take(self, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str]]:
        """Keep a call; status and headers of its answer."""
        with self._came:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self._came.notify_all()
        self._released.wait()
        with self._came:
            self._now -= 1
            problems = self.problems(headers, body)
            more = self._headers if self._answers else {}
            status = self._answers.pop(0) if self._answers else 401 if problems else 200
            self.received.append(Received(headers=headers, body=body, problems=problems, status=status))
            self._came.notify_all()
            return status, more

    def problems(self, headers: Mapping[str, str], body: bytes) -> list[str]:
        """What is wrong with a call."""
        found = []
        if not hmac.compare_digest(headers.get("authorization", "").encode(), self.token.encode()):
            found.append("The token is not the one that was asked for.")
        if not verify(headers, body, secret=self.secret or self.token):
            found.append("The signature does not stand under this body.")
        return found


def verify(headers: Mapping[str, str], body: bytes, *, secret: str) -> bool:
    """Whether *body* was signed with *secret*, as Standard Webhooks has it; header names are in small letters."""
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    signed = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode() + body
    right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(one.encode(), right.encode()) for one in given)


class _Server(ThreadingHTTPServer):
    """The server behind a listener."""

    daemon_threads = True

    def __init__(self, listener: CallbackListener, *, port: int) -> None:
        self.listener = listener
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: whoever hung up knows."""


class _Handler(BaseHTTPRequestHandler):
    """One call."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        """Take a call and answer it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, more = self.server.listener.take(headers, body)
        self.send_response(status)
        for name, value in {**more, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""
