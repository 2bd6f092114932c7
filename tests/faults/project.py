"""A project whose inferrers log what they infer, the processes that work on it, and looks at what is left."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

#: Nothing that a test waits for takes longer, in seconds.
DEADLINE = 60.0

PIPELINE = """
from datetime import timedelta

from limner import Pipeline, RetryPolicy, Stage, file

pipeline = Pipeline("tiny", collection="things", stages=[
    Stage("double", infer="work:double", reads={{"n": "n"}}, batch={batch}, task_size={task_size}),
    Stage("square", infer="work:square", reads={{"n": "n", "x": "double.x"}}, batch={batch}, task_size={task_size}),
    Stage("label", infer="work:label", reads={{"n": "n", "x": "square.x"}}, batch={batch}, task_size={task_size}),
][:{stages}])
"""

#: Each inferrer is told by the file ``pace`` how many seconds a record takes, and logs each record that it inferred.
INFERRERS = '''
"""Inferrers that log each record they inferred."""

import os
import time
from pathlib import Path

LOG = os.open("calls.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
PIDS = os.open("pids.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(PIDS, f"{os.getpid()}\\n".encode())


def log(stage: str, n: int) -> None:
    pace = float(Path("pace").read_text())
    if pace:
        time.sleep(pace)
    os.write(LOG, f"{stage} {n}\\n".encode())


def double(n: int) -> dict:
    log("double", n)
    return {"x": 2 * n}


def square(n: int, x: int) -> dict:
    log("square", n)
    return {"x": x * x}


def label(n: int, x: int) -> dict:
    log("label", n)
    return {"text": f"{n} makes {x}"}
'''


class Stored(NamedTuple):
    """What the store holds of one record and stage."""

    status: int
    version: str
    read: bytes
    value_digest: bytes
    value: bytes


class Project:
    """A project in a folder."""

    def __init__(self, folder: Path, *, pipeline: str, inferrers: str, settings: str = "") -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        (folder / "pipeline.py").write_text(pipeline)
        (folder / "work.py").write_text(inferrers)
        (folder / "limner.toml").write_text(settings)
        self.pace(0)

    def pace(self, seconds: float) -> None:
        """Let every record take so long from now on."""
        aside = self.folder / "pace.new"
        aside.write_text(str(seconds))
        aside.replace(self.folder / "pace")

    def fill(self, name: str, rows: Iterable[Mapping[str, object]]) -> str:
        """Write a source file; its name."""
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return name

    # Processes

    def start(
        self, *arguments: str, file_blocks: int | None = None, stdin: IO[bytes] | None = None
    ) -> "subprocess.Popen[str]":
        """``limner`` with *arguments*, leading a process group; no file it writes may pass *file_blocks* KiB."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LIMNER_")}
        environ["TMPDIR"] = str(self.temporary)
        command = [sys.executable, "-m", "limner.cli.main", *arguments]
        if file_blocks is not None:
            command = ["bash", "-c", f'ulimit -f {file_blocks}; exec "$@"', "bash", *command]
        with (self.folder / "printed.txt").open("a") as printed:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environ,
                stdin=stdin or subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                text=True,
                start_new_session=True,
            )

    def limner(self, *arguments: str, file_blocks: int | None = None) -> int:
        """Run ``limner`` with *arguments* to its end; its exit status."""
        return self.start(*arguments, file_blocks=file_blocks).wait(DEADLINE)

    def kill(self, process: "subprocess.Popen[str]") -> bool:
        """End *process* and its group as a loss of power would; whether it lived until then."""
        lived = process.poll() is None
        if lived:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(DEADLINE)
        return lived

    def printed(self) -> str:
        """Everything that was printed so far."""
        return (self.folder / "printed.txt").read_text()

    # Looks

    def query(self, text: str, *values: object) -> list[tuple[object, ...]]:
        """Rows of the store; none before it is there."""
        file = self.folder / ".limner" / "limner.db"
        if not file.is_file():
            return []
        with closing(sqlite3.connect(file, timeout=DEADLINE)) as connection:
            try:
                return connection.execute(text, values).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def count(self, table: str) -> int:
        """Rows in a table of the store."""
        rows = self.query(f"SELECT count(*) FROM {table}")
        return int(str(rows[0][0])) if rows else 0

    def results(self) -> dict[tuple[str, str], Stored]:
        """Everything that the store holds, by record and stage."""
        rows = self.query(
            "SELECT records.id, nodes.stage, status, versions.digest, read, value_digest, value FROM results"
            " JOIN records ON records.pk = results.record JOIN nodes ON nodes.pk = results.node"
            " JOIN versions ON versions.pk = results.version"
        )
        found = {(str(row[0]), str(row[1])): Stored(*row[2:]) for row in rows}  # type: ignore[arg-type]  # SQLite's types
        assert len(found) == len(rows), "a record has two results of one stage"
        return found

    def in_flight(self) -> set[tuple[str, str]]:
        """Stage and record of everything that tasks handed out hold."""
        names = {row[0]: str(row[1]) for row in self.query("SELECT pk, id FROM records")}
        tasks = self.query("SELECT stage, open FROM tasks JOIN nodes ON nodes.pk = tasks.node WHERE state = 1")
        return {(str(stage), names[key]) for stage, held in tasks for key in keys_in(held)}

    def jobs(self) -> list[tuple[str, str, dict[str, int]]]:
        """Id, state and counts of every job, the oldest first."""
        counts = "sum(open), sum(done), sum(failed), sum(skipped), sum(cancelled)"
        names = ("open", "done", "failed", "skipped", "cancelled")
        found = []
        for job, state in self.query("SELECT id, state FROM jobs ORDER BY created, id"):
            row = self.query(f"SELECT {counts} FROM ledger WHERE owner = ?", job)[0]
            found.append((str(job), str(state), {n: int(str(v or 0)) for n, v in zip(names, row, strict=True)}))
        return found

    def calls(self) -> Counter[tuple[str, str]]:
        """How often each stage and record was inferred, by the inferrers' own log."""
        log = self.folder / "calls.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return Counter((line.split()[0], f"r{line.split()[1]}") for line in lines)

    def logged(self) -> int:
        """Bytes of the inferrers' log."""
        log = self.folder / "calls.log"
        return log.stat().st_size if log.exists() else 0

    def children(self) -> list[int]:
        """Processes of inferrers that live."""
        log = self.folder / "pids.log"
        return [int(line) for line in (log.read_text().split() if log.exists() else []) if lives(int(line))]

    def leftovers(self) -> list[str]:
        """Files that only a run in progress should have."""
        places = [self.temporary, self.folder / ".limner/cache/live", self.folder / ".limner/artifacts/aside"]
        return [str(path.relative_to(self.folder)) for place in places for path in place.rglob("*")]


def numbers(count: int) -> list[dict[str, object]]:
    """*count* records."""
    return [{"id": f"r{n}", "n": n} for n in range(count)]


def tiny(folder: Path, *, batch: int = 20, task_size: int = 100, stages: int = 3) -> Project:
    """A project of up to three stages that log what they infer."""
    pipeline = PIPELINE.format(batch=batch, task_size=task_size, stages=stages)
    return Project(folder, pipeline=pipeline, inferrers=INFERRERS)


def keys_in(packed: object) -> list[int]:
    """The keys of a packed list: eight bytes each, little-endian."""
    assert isinstance(packed, bytes)
    return [int.from_bytes(packed[at : at + 8], "little") for at in range(0, len(packed), 8)]


def lives(process: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
