"""What the tests of precalculation share: a project with packages of its own, and what it wrote."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from limner.app.app import App, open_app
from limner.systems.ersilia.precalc.nouns import Ask, Outcome
from limner.systems.ersilia.precalc.run import Precalc
from tests.systems.ersilia.made_packages import made

#: A made package that notes which process called it with how many molecules.
NOTING = """
import os
from pathlib import Path
with open({log!r}, "a") as log:
    log.write(f"{{os.getpid()}} {{len(smiles)}}\\n")
{more}
return [[len(one)] for one in smiles]
"""


class Bench:
    """A project in which libraries go through made packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls.txt"
        folder.mkdir(exist_ok=True)

    def noting(self, more: str = "", identity: str = "eos0pln", **how: object) -> str:
        """Add a package that notes its calls, and does *more* with ``smiles`` before it answers; its id."""
        body = NOTING.format(log=str(self.log), more=more)
        made(self.folder / "packages", identity, body, in_process=True, **how)  # type: ignore[arg-type]  # see `made`
        return identity

    def library(self, rows: list[str], *, header: str = "smiles", name: str = "library.csv") -> Path:
        """A library with these rows."""
        file = self.folder / name
        file.write_text("".join(f"{line}\n" for line in [header, *rows]))
        return file

    def calls(self) -> list[tuple[int, int]]:
        """Process and number of molecules of each call of a noting package, its check left out."""
        if not self.log.exists():
            return []
        found = [tuple(map(int, line.split())) for line in self.log.read_text().splitlines()]
        return [(pid, count) for pid, count in found[2:]]

    def predicted(self) -> int:
        """Molecules that a noting package was called with, its check left out."""
        return sum(count for _, count in self.calls())

    def run(self, library: Path, *, model: str = "eos0pln", workers: int = 2, **how: object) -> Outcome:
        """Precalculate in this process."""
        with self.app() as app:
            return Precalc(app).run(Ask(model=model, library=str(library), workers=workers, **how))  # type: ignore[arg-type]  # see Ask

    def app(self) -> App:
        """The application over the project."""
        return open_app(self.folder)

    def limner(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line in the project's folder."""
        return subprocess.run(self.words(*words), cwd=self.folder, capture_output=True, text=True, check=False)

    def words(self, *words: str) -> list[str]:
        """The command line of a verb."""
        return [sys.executable, "-m", "limner.cli.main", *words]

    def rows(self, job: str, *, model: str = "eos0pln") -> list[dict[str, str]]:
        """The rows that a job wrote as CSV, in the order of its files."""
        found = []
        for file in sorted((self.folder / "out" / model).glob(f"{job}_*.csv")):
            with file.open(newline="") as stream:
                found += list(csv.DictReader(stream))
        return found

    def set_aside(self, job: str) -> list[dict[str, str]]:
        """The rows that a job set aside."""
        with (self.folder / "set_aside" / f"{job}.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    def meta(self, *, model: str = "eos0pln") -> dict[str, Any]:
        """The metadata object of a model."""
        found: dict[str, Any] = json.loads((self.folder / "meta" / f"{model}.json").read_text())
        return found
