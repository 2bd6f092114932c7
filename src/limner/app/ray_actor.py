"""What runs within an actor of Ray: it starts one worker as a process of its own, and drains it when it is told to."""

import os
import platform
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from limner.app.far_worker import FarSettings

#: Lines that a worker said last, which are told when it has ended.
_LAST_WORDS = 5


class Told(Struct, frozen=True, kw_only=True):
    """What a worker process is told on its standard input, token included: no list of processes shows it."""

    #: Folder of the project, on the machine of the worker.
    folder: str
    #: Settings that stood before the verb.
    options: Mapping[str, str | None] = {}
    #: Settings as variables, ``LIMNER_…``; they stand above those of the machine.
    environment: Mapping[str, str] = {}
    worker: FarSettings


class Ended(Struct, frozen=True, kw_only=True):
    """How a worker process ended."""

    status: int
    #: What it said last.
    said: str


class WorkerActor:
    """
    One worker, for as long as its actor lives.

    The process's standard input is a line to the actor: when the actor is gone, however that happened, the line is cut
    and the process ends. It stays in the actor's process group, which Ray ends with it.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._said: deque[str] = deque(maxlen=_LAST_WORDS)
        self._listener = threading.Thread(target=self._listen, name="worker's words", daemon=True)

    def begin(self, told: bytes) -> str:
        """Start the worker that is *told* so, a :class:`Told` as JSON; on which machine that is."""
        folder = Path(msgspec.json.decode(told, type=Told).folder)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "limner.cli.told_worker"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Where there is no such folder, the worker says so itself.
            cwd=folder if folder.is_dir() else None,
        )
        self._listener.start()
        assert self._process.stdin is not None
        self._process.stdin.write(f"{told.decode()}\n")
        self._process.stdin.flush()
        return platform.node()

    def drain(self) -> None:
        """Have the worker take nothing more, finish what is in hand or give it back, and end."""
        if self._process is not None:
            self._process.terminate()

    def ended(self) -> Ended:
        """How the worker ended, once it has."""
        assert self._process is not None
        status = self._process.wait()
        self._listener.join()
        return Ended(status=status, said=" ".join(self._said))

    def _listen(self) -> None:
        """Hand on what the worker says, so that it stands in Ray's log of this actor."""
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said.append(line.strip())
            os.write(2, line.encode())
