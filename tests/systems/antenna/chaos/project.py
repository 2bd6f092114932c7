"""The project that storms rage over, and looks at what is left of it: three stages over plain numbers."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

#: Records are frames; each has up to three finds, and each of those a name: the antenna's shape with plain numbers.
PIPELINE = """
from datetime import timedelta

from limner import Number, Pipeline, Stage, Text

pipeline = Pipeline("storm", collection="frames", standing=False, stages=[
    Stage("find", infer="inferrers:find", kind="expand", of="finds", identity=["at"], reads={"n": "n"},
          batch=4, task_size=8, timeout=timedelta(seconds=TIMEOUT)),
    Stage("name", infer="inferrers:name", over="finds", reads={"at": "at", "n": "parent.n"},
          outputs={"name": Text()}, batch=8, task_size=16),
    Stage("size", infer="inferrers:size", reads={"n": "n"}, outputs={"value": Number()}, batch=4, task_size=8),
])
"""
#: A record below zero is bad: -1 ends the process that infers it, -2 hangs once, -3 takes long.
INFERRERS = '''
"""Inferrers that can be slowed down, and that log what they were given."""

import os
import time
from pathlib import Path

POISON, HANGS, LONG = -1, -2, -3


def work(stage: str, n: int) -> None:
    with open("calls.txt", "a") as log:
        log.write(f"{stage} {n}\\n")
    time.sleep(float(Path("pace").read_text()))


def find(n: int) -> list:
    work("find", n)
    if n == POISON:
        os._exit(13)
    hung = Path("..") / "hung"
    if n == HANGS and not hung.exists():
        hung.touch()
        time.sleep(3600)
    if n == LONG:
        time.sleep(float((Path("..") / "long").read_text()))
    return [{"at": 10 * n + place} for place in range(n % 4)]


def name(at: int, n: int) -> dict:
    work("name", at)
    return {"name": f"{n} has {at}"}


def size(n: int) -> dict:
    work("size", n)
    return {"value": n * n}
'''
POISON = -1
_RESULTS = (
    "SELECT collections.name, records.id, nodes.stage, nodes.implementation, versions.digest, results.status,"
    " results.value_digest FROM results"
    " JOIN records ON records.pk = results.record JOIN collections ON collections.pk = records.collection"
    " JOIN nodes ON nodes.pk = results.node JOIN versions ON versions.pk = results.version"
)
_FATES = ("open", "done", "failed", "skipped", "cancelled")


class Place(NamedTuple):
    """What a result is of."""

    collection: str
    record: str
    stage: str
    implementation: str
    version: str


class JobRow(NamedTuple):
    """A job as it stands."""

    state: str
    sealed: bool
    counts: dict[str, int]


def write_project(folder: Path, *, lease: float, timeout: float = 20.0) -> Path:
    """A project in a new folder."""
    folder.mkdir(parents=True)
    (folder / "pipeline.py").write_text(PIPELINE.replace("TIMEOUT", str(timeout)))
    (folder / "inferrers.py").write_text(INFERRERS)
    (folder / "limner.toml").write_text(f'lease = {lease}\nin_flight = 16\nallow_hosts = ["127.0.0.1"]\n')
    return folder


class Looks:
    """Reads a project's store from outside, as any other process."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / ".limner" / "limner.db"

    def query(self, text: str, *values: object) -> list[tuple[object, ...]]:
        """Rows."""
        with closing(sqlite3.connect(self.file, timeout=60)) as connection:
            return connection.execute(text, values).fetchall()

    def count(self, what: str) -> int:
        """How many rows *what*, a table and perhaps a condition, has."""
        return int(str(self.query(f"SELECT count(*) FROM {what}")[0][0]))

    def results(self) -> dict[Place, tuple[int, bytes]]:
        """Status and value digest of everything that was inferred; nothing is there twice."""
        rows = self.query(_RESULTS)
        found = {Place(*map(str, row[:5])): (int(str(row[5])), bytes(row[6])) for row in rows}  # type: ignore[call-overload]  # SQLite's types
        assert len(found) == len(rows), "a record has two results of one stage, implementation and version"
        return found

    def job(self, identity: str) -> JobRow:
        """One job."""
        ((state,),) = self.query("SELECT state FROM jobs WHERE id = ?", identity)
        sums = ", ".join(f"coalesce(sum({fate}), 0)" for fate in _FATES)
        (row,) = self.query(f"SELECT {sums} FROM ledger WHERE owner = ?", identity)
        sealed = self.query("SELECT 1 FROM job_events WHERE job = ? AND kind = 'sealed'", identity)
        return JobRow(str(state), bool(sealed), dict(zip(_FATES, (int(str(one)) for one in row), strict=True)))

    def jobs(self) -> list[str]:
        """The ids of all jobs."""
        return [str(row[0]) for row in self.query("SELECT id FROM jobs ORDER BY created, id")]

    def open_tasks(self) -> int:
        """Tasks that nobody has ended."""
        return self.count("tasks WHERE state IN (0, 1)")

    def failures(self) -> dict[str, tuple[str, int]]:
        """By record: the code of the last failed attempt, and how many attempts it was charged with."""
        rows = self.query(
            "SELECT records.id, max(attempts.tried), (SELECT code FROM attempts AS last WHERE last.record = records.pk"
            " ORDER BY last.pk DESC LIMIT 1) FROM attempts JOIN records ON records.pk = attempts.record"
            " GROUP BY records.pk"
        )
        return {str(row[0]): (str(row[2]), int(str(row[1]))) for row in rows}

    def whole(self) -> bool:
        """Whether the database itself is sound."""
        return self.query("PRAGMA integrity_check") == [("ok",)]


def shared_out(numbers: Sequence[int], *, jobs: int) -> dict[str, Sequence[int]]:
    """The frames of several jobs by their keys; a few are in two of them."""
    size = -(-len(numbers) // jobs)
    return {f"key-{at}": numbers[max(0, at * size - 3) : (at + 1) * size] for at in range(jobs)}


def body_of(numbers: Iterable[int]) -> bytes:
    """A job for these frames, as a client sends it."""
    records = [{"id": f"f{n}", "fields": {"n": n}} for n in numbers]
    return json.dumps({"pipeline": "storm", "records": records}).encode()
