"""A real Ray of several nodes on this machine, and the processes of workers on each."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from msgspec import Struct

from tests.conftest import IN_CI, REPOSITORY
from tests.fetched import Missing, fetched
from tests.processes import clean_environment, kill

_LOCK = REPOSITORY / "deploy" / "ray" / "requirements.txt"
#: Nobody is told that this Ray runs, and it asks nobody for a token.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


class State(Struct, frozen=True):
    """A cluster as it is."""

    address: str
    #: The folder of its logs.
    session: str
    #: The process of each node.
    raylets: list[int]


class Actor(Struct, frozen=True):
    """One actor on a node, and the worker that it started."""

    pid: int
    worker: int


class LocalRay:
    """
    A cluster whose nodes have room for one actor each, and for which what it needs and no more is installed.

    Entered, it has one node, until the block ends.
    """

    def __init__(self, folder: Path, *, also: Sequence[Path] = ()) -> None:
        """
        Fetch Ray where it is not there yet: 75 MB to fetch, 250 MB on the disk. What it says is kept in *folder*.

        *also* are folders of Python packages that inferrers need on its nodes.

        Raises:
            Missing: Ray cannot be fetched.
        """
        lock = hashlib.sha256(_LOCK.read_bytes()).hexdigest()
        path = [fetched(f"ray-{lock[:12]}", _LOCK), REPOSITORY / "src", *also]
        self.path = os.pathsep.join(map(str, path))
        self._said = folder / "ray.txt"
        self._environment = clean_environment("RAY_") | self.environment

    def __enter__(self) -> Self:
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                # The Python beneath this environment: nodes have nothing that their lock does not bring.
                [getattr(sys, "_base_executable", sys.executable), str(Path(__file__).parent / "nodes.py")],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
            )
        try:
            self._heard()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """End the cluster, and whatever of it does not end by itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdin, self._process.stdout, suppress(subprocess.TimeoutExpired):
            self._process.stdin.close()
            self._process.wait(30)
        kill(self._process)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs that is to find Ray."""
        return _QUIET | {"PYTHONPATH": self.path}

    def add(self) -> None:
        """Add a node."""
        self._tell("add")

    def kill(self, node: int) -> None:
        """End a node as a loss of power would."""
        self._tell(f"kill {node}")

    def actors(self) -> list[list[Actor]]:
        """The actors of each node that have a worker."""
        return [
            [Actor(pid, worker) for pid in _children(raylet) for worker in _children(pid) if _is_worker(worker)]
            for raylet in self.state.raylets
        ]

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        self._heard()

    def _heard(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # Ray has much to say between the answers.
            if line.startswith('{"address"'):
                self.state = State(**json.loads(line))
                return
        raise AssertionError(f"Ray has ended: {self._said.read_text()[-2000:]}")


@contextmanager
def ray_here(folder: Path, *, also: Sequence[Path] = ()) -> Iterator[LocalRay]:
    """A Ray of one node; skips where Ray cannot be had, and fails in CI."""
    try:
        made = LocalRay(folder, also=also)
    except Missing as missing:
        if IN_CI:
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    with made:
        yield made


def lives(process: int) -> bool:
    """Whether there is such a process; one that has ended and that nobody asked after is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(process: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _is_worker(process: int) -> bool:
    try:
        return b"limner.cli.told_worker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
