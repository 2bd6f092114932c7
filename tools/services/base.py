"""What every service is, and what starting and ending one takes."""

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

#: Seconds that a service may take to answer.
PATIENCE = 60


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
