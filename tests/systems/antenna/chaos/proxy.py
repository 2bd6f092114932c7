"""A proxy that loses replies, says things twice and says them again late, as its dice tell it."""

import http.client
import json
import random
import socket
import threading
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.listening import Listening

#: Messages that may be said again long after they were answered.
_LATE = "tasks:complete"
_HOP = ("host", "connection", "content-length", "accept-encoding")
#: Of the replies to everything else, so few are lost as this is of the share of answers.
_SELDOM = 0.1


class Proxy(Listening):
    """
    Stands between workers and a server; entered, it forwards until the block ends.

    Of the replies to what workers say, a share is lost after the server has given them: whoever asked sees a broken
    connection. Another share of what is said is said twice, and another again later.
    """

    def __init__(self, port: int, *, seed: int, lost: float = 0.0, twice: float = 0.0, late: float = 0.0) -> None:
        self.server_port = port
        self._dice = random.Random(seed)
        self._shares = {"lost": lost, "twice": twice, "late": late}
        self._lock = threading.Lock()
        self._kept: list[tuple[str, bytes, dict[str, str]]] = []
        #: What was done: replies lost, messages said twice, and again later.
        self.did: Counter[str] = Counter()
        #: What the server said of answers: ``committed``, ``duplicate``, …
        self.told: Counter[str] = Counter()
        super().__init__(_Server(self))

    def roll(self, path: str) -> set[str]:
        """What happens to one message."""
        if ":" not in path.rpartition("/")[2]:
            return set()
        with self._lock:
            rolled = {what for what, share in self._shares.items() if self._dice.random() < share}
            if not path.endswith(_LATE):
                # A task whose reply is lost waits for the end of its lease: seldom, or nothing else would happen.
                rolled = rolled & {"lost"} if self._dice.random() < _SELDOM else set()
            self.did.update(rolled)
        return rolled

    def keep(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Keep a message, to be said again later."""
        with self._lock:
            self._kept.append((path, body, headers))

    def say_again(self) -> int:
        """Say every message that was kept again, and forget it; how many there were."""
        with self._lock:
            kept, self._kept = self._kept, []
        said = 0
        for path, body, headers in kept:
            try:
                self.forward("POST", path, body, headers)
            except OSError:
                continue
            said += 1
        return said

    def forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
        """The server's own answer: status, body and type."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            said, kind = answer.read(), answer.getheader("Content-Type", "application/json")
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        if path.endswith(_LATE) and answer.status == 200:
            self.told.update(receipt["state"] for receipt in json.loads(said)["tasks"])
        return answer.status, said, kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        """Pass it on."""
        self._pass("GET")

    def do_POST(self) -> None:
        """Pass it on."""
        self._pass("POST")

    def do_PUT(self) -> None:
        """Pass it on."""
        self._pass("PUT")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _pass(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        happens = self.server.proxy.roll(self.path)
        try:
            status, said, kind = self._forwarded(method, body, headers, happens)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
        except OSError:
            self._hang_up()

    def _forwarded(
        self, method: str, body: bytes, headers: dict[str, str], happens: set[str]
    ) -> tuple[int, bytes, str]:
        proxy = self.server.proxy
        if "twice" in happens:
            proxy.forward(method, self.path, body, headers)
        if "late" in happens:
            proxy.keep(self.path, body, headers)
        answer = proxy.forward(method, self.path, body, headers)
        if "lost" in happens:
            raise ConnectionError("the reply is lost")
        return answer

    def _hang_up(self) -> None:
        """As a server that died in between."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    def __init__(self, proxy: Proxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy
