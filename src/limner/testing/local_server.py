"""A whole server in this process, on a free port of the loopback address: for tests, demos and whoever tries things."""

import socket
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import uvicorn

from limner.api.app import create
from limner.api.serving import KEEP_ALIVE
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.clock import Clock
from limner.errors import UsageError
from limner.settings import Project, load_project

_START = 30.0


class LocalServer:
    """
    Serves the project in a folder; used with ``with``.

    Workers of this process infer, unless *own_workers* is false. *options* are settings.
    """

    def __init__(
        self,
        project: Path | Project,
        *,
        clock: Clock | None = None,
        own_workers: bool = True,
        grace: timedelta = timedelta(seconds=2),
        **options: object,
    ) -> None:
        found = load_project(project, environment={}, options=options) if isinstance(project, Path) else project
        self.projects = Projects(found, clock=clock, own_workers=own_workers)
        # Without a life of the application: the projects are started and stopped here.
        self._config = uvicorn.Config(
            create(self.projects), log_level="error", timeout_graceful_shutdown=1, timeout_keep_alive=KEEP_ALIVE
        )
        self._grace = grace
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self._client: httpx.Client | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Serve until the block ends."""
        self._server = uvicorn.Server(self._config)
        self.projects.start()
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="server", daemon=True)
        self._thread.start()
        ends = time.monotonic() + _START
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > ends:
                raise UsageError("The server did not start.")
            time.sleep(0.01)
        self._client = httpx.Client(base_url=self.url, timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it; what is not done goes on with the next one over the same folder."""
        self.client.close()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(10)
        self.projects.stop(self._grace)
        self.projects.root.close()
        self._socket.close()

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def host(self) -> Host:
        """The project `default` at work."""
        return self.projects.host("default")

    @property
    def client(self) -> httpx.Client:
        """A client whose addresses begin at the root."""
        if self._client is None:
            raise UsageError("The server was not started; use it with `with`.")
        return self._client
