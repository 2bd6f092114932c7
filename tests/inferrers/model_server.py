"""A server of models on loopback that answers as it is told, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from limner.domain.values import Value

Respond = Callable[[str, Value, dict[str, str]], tuple[int, Value]]


class ModelServer:
    """A server that answers each request by a function and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Value, dict[str, str]]] = []
        self.respond: Respond = lambda path, body, headers: (404, {})
        self.headers: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _answer(self, body: Value) -> None:
                headers = {key.lower(): value for key, value in self.headers.items()}
                owner.asked.append((self.path, body, headers))
                status, answer = owner.respond(self.path, body, headers)
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for key, value in {**owner.headers, "content-length": str(len(content))}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the tests' output clean."""

        return Handler
