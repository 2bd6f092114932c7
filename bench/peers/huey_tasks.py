"""Huey's side of work A: two tiny tasks on SQLite with fsync, and a consumer of two processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huey import SqliteHuey
from huey.storage import SqliteStorage

#: The consumer is a process of its own, and finds the file by this.
_FILE = "BENCH_HUEY_FILE"
app = SqliteHuey("bench", filename=os.environ.get(_FILE, ":memory:"), fsync=True, timeout=60)


@app.task()
def double(n: int) -> dict[str, int]:
    """Twice *n*."""
    return {"x": 2 * n}


@app.task()
def square(double: dict[str, int] | None = None, x: int = 0) -> dict[str, int]:
    """The square of what came before; huey hands a dictionary over as keyword arguments."""
    return {"x": x * x}


@contextmanager
def consumer(folder: Path) -> Iterator[SqliteHuey]:
    """The application with its storage in *folder*, while a consumer works on it."""
    file = folder / "huey.db"
    command = [str(Path(sys.executable).with_name("huey_consumer")), "peers.huey_tasks.app", "-w", "2", "-k", "process"]
    here = Path(__file__).resolve().parent.parent
    environ = os.environ | {_FILE: str(file), "PYTHONPATH": str(here)}
    app.storage = SqliteStorage("bench", filename=str(file), fsync=True, timeout=60)
    with subprocess.Popen(
        [*command, "--delay", "0.005", "--max-delay", "0.05", "--no-periodic", "--quiet"], cwd=here, env=environ
    ) as process:
        try:
            yield app
        finally:
            process.terminate()
