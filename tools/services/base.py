"""What every service is, and what starting and ending one takes."""

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

#: Seconds that a service may take to answer.
PATIENCE = 120


class Unavailable(Exception):
    """A service cannot be had here; the text says why and what helps."""


class Service(ABC):
    """One server: how it is had, and how it runs in a folder of its own."""

    #: As in ``LIMNER_TEST_<NAME>``.
    name: str
    #: Debian packages that bring it; none where the lock does.
    packages: tuple[str, ...] = ()

    @abstractmethod
    def installed(self) -> bool:
        """Whether its programs are here."""

    @abstractmethod
    def running(self, folder: Path) -> "Iterator[str]":
        """Start it in *folder*, give its address, and stop it."""


class Daemon:
    """One program that runs in a folder, in a process group of its own; what it says is kept there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, words: "Sequence[str]", *, answers: "Callable[[], bool]") -> None:
        """
        Start it, and wait until it *answers*.

        Raises:
            Unavailable: it does not; the text says what it wrote.
        """
        with (self._folder / "said").open("ab") as said:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=self._folder,
                start_new_session=True,
            )
        wait_for(answers, process=self._process, told=self._told)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def _told(self) -> str:
        return (self._folder / "said").read_text(errors="replace")[-1000:]


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def greets(port: int, hello: bytes) -> bool:
    """Whether a server on *port* answers *hello*, or takes a connection where that is empty."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(hello)
            return not hello or bool(connection.recv(1))
    except OSError:
        return False


def wait_for(true: Callable[[], bool], *, process: "subprocess.Popen[bytes]", told: Callable[[], str]) -> None:
    """Wait until a server that was started as *process* answers."""
    ends = time.monotonic() + PATIENCE
    while not true():
        if process.poll() is not None or time.monotonic() > ends:
            end(process)
            raise Unavailable(f"{Path(str(process.args)).name} does not answer: {told()}")
        # The pace of polling, nothing more.
        time.sleep(0.05)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
