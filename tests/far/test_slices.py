"""Slices of a table inferred far away: columns travel as files, and the rows come back whole, whoever was killed."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import limner
from tests.far.rig import Server
from tests.far.workers import WorkerProcess
from tests.waiting import until

PIPELINE = """
from limner import Number, Pipeline, Stage

pipeline = Pipeline("table", collection="things", slices=10, stages=[
    Stage("double", "inferrers:double", reads={"n": "n"}, outputs={"value": Number()}),
    Stage("square", "inferrers:square", reads={"x": "double.value"}, outputs={"value": Number()}),
])
"""
INFERRERS = """
import time
from pathlib import Path

import numpy as np


def double(n: np.ndarray) -> np.ndarray:
    with open("calls.txt", "a") as calls:
        calls.write(f"{n[0]}\\n")
    time.sleep(float(Path("pace").read_text()))
    return 2 * n


def square(x: np.ndarray) -> np.ndarray:
    return x * x
"""
ROWS = 300


@pytest.mark.slow
def test_a_killed_far_worker_loses_no_row(tmp_path: Path) -> None:
    """A table is taken in beside a server and one of two workers is killed: every row is there once, with its value."""
    project = tmp_path / "project"
    project.mkdir()
    table = pa.table({"id": [f"r{n}" for n in range(ROWS)], "n": list(range(ROWS))})
    pq.write_table(table, project / "t.parquet")
    settings = "lease = 2.0\nallow_hosts = ['127.0.0.1']\n"

    with Server(project, pipeline=PIPELINE, inferrers=INFERRERS, settings=settings) as server:
        command = [sys.executable, "-m", "limner.cli.main", "run", "table", "t.parquet"]
        with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as run, ExitStack() as stack:
            # Whatever happens, nobody waits for it without end.
            stack.callback(run.kill)
            with (
                WorkerProcess(tmp_path / "w1", server.url, inferrers=INFERRERS, pace=0.2) as killed,
                WorkerProcess(tmp_path / "w2", server.url, inferrers=INFERRERS, pace=0.01) as other,
            ):
                until(lambda: len(killed.calls()) > 1)
                killed.kill()
                told, _ = run.communicate()
            assert run.returncode == 0, told
    assert f"double: {ROWS} rows done" in told
    assert len(killed.calls()) + len(other.calls()) <= ROWS // 10 + 2
    with limner.open(project) as app:
        rows = [row for one in app.tables("things") for row in one.to_pylist()]
    assert [(row["id"], row["square.value"]) for row in rows] == [(f"r{n}", (2 * n) ** 2) for n in range(ROWS)]
