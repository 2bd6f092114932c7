"""Servers of this process for one test: entered, they answer in a thread until the block ends."""

import threading
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Listening:
    """What the tests' own servers have in common: a thread that serves, and where they are reached."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        # A client that hangs keeps no test from ending.
        server.daemon_threads = True
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        """Host and port."""
        host, port, *_ = self._server.server_address
        return f"{host!s}:{port}"

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://{self.host}"
