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
        return self._programs() is not None

    def running(self, folder: Path) -> Iterator[str]:
        """Start it in *folder*, give its address, and stop it."""
        programs, port = self._programs(), free_port()
        assert programs is not None
        if os.geteuid() == 0:
            shutil.chown(folder, _UNPRIVILEGED)
        data = folder / "data"
        self._run(programs / "initdb", "-D", data, "-A", "trust", "-U", "limner", "--locale=C.UTF-8", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        control, log = programs / "pg_ctl", folder / "log"
        self._run(control, "-D", data, "-w", "-t", str(PATIENCE), "-l", log, "-o", options, "start")
        try:
            yield f"postgresql://limner@127.0.0.1:{port}/postgres"
        finally:
            self._run(control, "-D", data, "-m", "immediate", "stop")

    def _run(self, *command: str | Path) -> None:
        words = [str(word) for word in command]
        if os.geteuid() == 0:
            words = ["runuser", "-u", _UNPRIVILEGED, "--", *words]
        done = subprocess.run(words, capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise Unavailable(f"{words[-1]} of PostgreSQL failed: {done.stderr.strip() or done.stdout.strip()}")

    def _programs(self) -> Path | None:
        found = shutil.which("initdb")
        if found:
            return Path(found).parent
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3])
        return versions[-1].parent if versions else None
