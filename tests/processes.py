"""Processes as a person starts them: each leads a session of its own, and is ended as by a loss of power."""

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


def clean_environment(*without: str) -> dict[str, str]:
    """This process's environment, but for what begins with ``LIMNER_`` or with one of *without*."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LIMNER_", *without))}


def start(
    words: Sequence[str], *, folder: Path, said: Path, environment: Mapping[str, str], errors: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start a command in *folder*; what it says goes to the end of the file *said*, errors to *errors* if named."""
    with said.open("ab") as out, (errors or said).open("ab") as complained:
        return subprocess.Popen(
            words, cwd=folder, env=environment, stdout=out, stderr=complained, start_new_session=True
        )


def kill(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """End a process that leads a session, and all that it started, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Running(ABC):
    """A process that runs from when it is entered until the block ends."""

    process: "subprocess.Popen[bytes]"

    @abstractmethod
    def start(self) -> "subprocess.Popen[bytes]":
        """Start it."""

    def kill(self) -> None:
        """End it, and all that it started, as a power cut would."""
        kill(self.process)

    def __enter__(self) -> Self:
        self.process = self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
