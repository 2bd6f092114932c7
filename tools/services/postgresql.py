"""PostgreSQL for tests: Debian's, with data of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tools.services.base import PATIENCE, Service, Unavailable, free_port

#: The user that a server of PostgreSQL runs as where this process is root, whom it refuses.
_UNPRIVILEGED = "postgres"


class PostgreSQL(Service):
    """A cluster that trusts whoever reaches its loopback port, without the syncs that a real one needs."""

    name = "postgresql"
    packages = ("postgresql", "postgresql-contrib")

    def installed(self) -> bool:
        """Whether Debian's versioned folder of programs, or the path, has its server."""
        return _programs() is not None

    def running(self, folder: Path) -> Iterator[str]:
        """Start it in *folder*, give its address, and stop it."""
        server = PostgreSQLServer(folder)
        server.start()
        try:
            yield server.url
        finally:
            server.kill()


class PostgreSQLServer:
    """
    A cluster in a folder: what was committed is there again when it is started again.

    Unless told otherwise it writes without syncs, which matters to a loss of power alone: what a killed server wrote,
    the system keeps.

    Raises:
        Unavailable: its programs are not here, or it cannot be made; the text says why.
    """

    def __init__(self, folder: Path, *, syncs: bool = False) -> None:
        """*syncs*: a commit returns once it is on the disk, as of a server that is in earnest."""
        found = _programs()
        if found is None:
            raise Unavailable("PostgreSQL is missing; install the packages postgresql and postgresql-contrib.")
        self.port = free_port()
        self._programs, self._folder, self._data = found, folder, folder / "data"
        self._options = "" if syncs else " -c fsync=off"
        if os.geteuid() == 0:
            shutil.chown(folder, _UNPRIVILEGED)
        _run(found / "initdb", "-D", self._data, "-A", "trust", "-U", "limner", "--locale=C.UTF-8", "-E", "UTF8")

    @property
    def url(self) -> str:
        """Its address."""
        return f"postgresql://limner@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        self._control("-w", "-t", str(PATIENCE), "-l", self._folder / "log", "-o", options + self._options, "start")

    def kill(self) -> None:
        """End it at once, connections and transactions with it."""
        self._control("-m", "immediate", "stop")

    def _control(self, *words: str | Path) -> None:
        _run(self._programs / "pg_ctl", "-D", self._data, *words)


def _run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["runuser", "-u", _UNPRIVILEGED, "--", *words]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise Unavailable(f"{words[-1]} of PostgreSQL failed: {done.stderr.strip() or done.stdout.strip()}")


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3])
    return versions[-1].parent if versions else None
