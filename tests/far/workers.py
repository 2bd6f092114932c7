"""Worker processes as a person starts them, on machines of their own as far as folders go."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from tests.processes import Running, clean_environment, start
from tests.waiting import LONG, until

#: Does what the file ``pace`` says to each record, and logs it; what a record asks for happens to it.
INFERRERS = """
import os
import time
from pathlib import Path


class Double:
    version = "1"

    def infer(self, number: list[int]) -> list[dict]:
        for one in number:
            pace = float(Path("pace").read_text()) if Path("pace").exists() else 0.0
            with open("calls.txt", "a") as log:
                log.write(f"{one}\\n")
            if one == -1 and not Path("hung").exists():
                Path("hung").touch()
                time.sleep(3600)
            time.sleep(pace)
        return [{"value": 2 * one} for one in number]
"""


class WorkerProcess(Running):
    """``limner worker`` in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        url: str,
        *options: str,
        inferrers: str = INFERRERS,
        environment: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        pace: float = 0.0,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "inferrers.py").write_text(inferrers)
        (folder / "limner.toml").write_text('allow_hosts = ["127.0.0.1", "10.0.0.0/8"]\n')
        (folder / "pace").write_text(str(pace))
        self._temporary = folder / "tmp"
        self._temporary.mkdir(exist_ok=True)
        self._command = [*prefix, sys.executable, "-m", "limner.cli.main", "worker", "--url", url, *options]
        clean = {name: value for name, value in clean_environment().items() if "proxy" not in name.lower()}
        self._environment = clean | {"TMPDIR": str(self._temporary)} | dict(environment or {})

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it."""
        said = self.folder / "said.txt"
        return start(self._command, folder=self.folder, said=said, environment=self._environment)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the worker alone."""
        self.process.send_signal(number)

    def ended(self, *, within: timedelta = LONG) -> int:
        """Its exit status, once it has ended by itself."""
        return self.process.wait(within.total_seconds())

    def said(self) -> str:
        """What it told whoever started it."""
        return (self.folder / "said.txt").read_text()

    def logged(self, event: str) -> list[dict[str, object]]:
        """The lines of its log about one event."""
        file = self.folder / ".limner" / "worker.log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [found for line in lines if (found := json.loads(line)).get("event") == event]

    def calls(self) -> list[int]:
        """The numbers that its inferrer was given."""
        file = self.folder / "calls.txt"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def serves(self) -> None:
        """Wait until it has said hello."""
        until(lambda: " serves " in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def begins(self, *, calls: int = 1) -> None:
        """Wait until its inferrer was called for so many records."""
        until(lambda: len(self.calls()) >= calls or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()
