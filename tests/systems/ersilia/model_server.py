"""A small model server as a process, as the hub serves models, that may be odd in many ways."""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.systems.ersilia.made_packages import CULPRIT
from tests.waiting import until
from tools.services import free_port


class ModelServer:
    """
    The server; entered, it runs until the block ends. Its columns hold the lengths of the SMILES, each one more.

    *odd*: what it does where the culprit is among the molecules (``fail``, ``refuse``, ``hang``, ``die``, ``drop``,
    ``text``, ``null``, ``nan``), or with every request (``missing``, ``rename``, ``words``, ``object``). *busy*: the
    requests, counted from 1, to which it answers 503.
    """

    def __init__(
        self, folder: Path, *, columns: tuple[str, ...] = ("value",), odd: str = "", busy: tuple[int, ...] = ()
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._port = free_port()
        self.host = f"127.0.0.1:{self._port}"
        self.url = f"http://{self.host}"
        self._log = folder / "requests.txt"
        told = {"columns": columns, "odd": odd, "busy": busy, "culprit": CULPRIT, "log": str(self._log)}
        program = Path(__file__).with_name("model_program.py")
        self._words = [sys.executable, str(program), str(self._port), json.dumps(told)]
        self._said = folder / "said.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, anew where it runs, and wait until it answers."""
        self.kill()
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(self._words, stdout=said, stderr=said)
        until(self._answers)

    def kill(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def requests(self) -> list[int]:
        """How many molecules each request so far had."""
        return [int(line) for line in self._log.read_text().split()] if self._log.exists() else []

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._said.read_text()[-2000:]
        try:
            return httpx.get(self.url, trust_env=False).is_success
        except httpx.TransportError:
            return False
