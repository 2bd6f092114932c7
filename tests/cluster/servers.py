"""Servers of a cluster as processes, and which of them leads."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg

from tests.processes import clean_environment, kill, start
from tools.services import free_port

#: The port from which the process speaks that holds the lock of the one that leads.
_LEADER = (
    "SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory'"
    " AND l.granted AND (l.classid::bigint << 32 | l.objid::bigint) ="
    " hashtextextended('limner leads ' || current_schema(), 0)"
)


class ServerProcess:
    """``limner serve`` that infers nothing itself; killed and started again at the same port."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._environment = clean_environment("AWS_") | dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may not be ready when this returns."""
        command = [sys.executable, "-m", "limner.cli.main", "serve", "--port", str(self._port), "--workers", "0"]
        said = self._folder / f"printed-{self._port}.txt"
        self._process = start(command, folder=self._folder, said=said, environment=self._environment)

    def kill(self) -> None:
        """End it as a loss of power would."""
        if self._process is not None:
            kill(self._process)

    def ready(self) -> bool:
        """Whether it takes requests; fails where it has ended by itself."""
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / f"printed-{self._port}.txt").read_text()[-3000:]
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def speaks_from(self, port: int) -> bool:
        """Whether a connection that it has open begins at this port."""
        assert self._process is not None
        process = Path(f"/proc/{self._process.pid}")
        with suppress(OSError):
            open_files = {str(file.readlink()) for file in (process / "fd").iterdir()}
            rows = [line.split() for line in (process / "net" / "tcp").read_text().splitlines()[1:]]
            return any(f"socket:[{row[9]}]" in open_files for row in rows if row[1].endswith(f":{port:04X}"))
        return False


def leader_of(servers: Sequence[ServerProcess], *, store: str) -> int | None:
    """Which of the servers leads; None where none does now."""
    with suppress(psycopg.OperationalError), psycopg.connect(store) as connection:
        for (port,) in connection.execute(_LEADER):
            return next((n for n, server in enumerate(servers) if server.speaks_from(port)), None)
    return None
