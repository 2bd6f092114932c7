"""Two servers on one PostgreSQL: one leads, and where it is killed the other one goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.store.databases import schema_url
from tests.waiting import until
from tools.services import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PIPELINE = """
from limner import Number, Pipeline, Stage

pipeline = Pipeline("slow", collection="things", standing=False, stages=[
    Stage("double", infer="inferrers:Double", reads={"number": "number"}, outputs={"value": Number()},
          batch=5, task_size=5),
])
"""
INFERRERS = """
import time

class Double:
    version = "1"

    def infer(self, number: list[int]) -> list[dict]:
        time.sleep(0.05)
        return [{"value": 2 * one} for one in number]
"""
#: Seconds within which another process leads.
TAKEN_OVER = 5.0


@contextmanager
def serving(folder: Path, store: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """A server process over *folder* and *store*, and a client of it."""
    port = free_port()
    command = [
        sys.executable,
        "-c",
        "from limner.cli.main import main; main()",
        "--store",
        store,
        "serve",
        "--port",
        str(port),
    ]
    with (folder / f"server-{port}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                until(lambda: _ready(client))
                yield process, client
        finally:
            process.kill()
            process.wait()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


def _done(client: httpx.Client, job: str) -> int:
    """How many of the job's records are done; what is told adds up at every moment."""
    counts = client.get(f"/api/v1/jobs/{job}").raise_for_status().json()["counts"]
    assert sum(counts[name] for name in ("open", "done", "failed", "skipped", "cancelled")) == counts["records"]
    return int(counts["done"])


@pytest.mark.timed
def test_another_server_goes_on_where_the_leader_is_killed(
    tmp_path: Path, require_service: Callable[[str], str]
) -> None:
    """The job ends with exact counts; the one that stands by leads within seconds, and answered all the while."""
    server = require_service("postgresql")
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    (tmp_path / "inferrers.py").write_text(INFERRERS)
    records = [{"id": f"r{n}", "fields": {"number": n}} for n in range(400)]
    with (
        schema_url(server) as store,
        serving(tmp_path, store) as (leader, first),
        serving(tmp_path, store) as (_, second),
    ):
        asked = first.post("/api/v1/jobs", json={"pipeline": "slow", "records": records})
        job = asked.raise_for_status().json()["id"]
        until(lambda: _done(second, job) >= 40)
        os.kill(leader.pid, signal.SIGKILL)
        before = _done(second, job)
        killed = time.monotonic()
        until(lambda: _done(second, job) > before + 5)
        waited = time.monotonic() - killed
        until(lambda: _done(second, job) == len(records))
        found = second.get(f"/api/v1/jobs/{job}").json()

    assert found["state"] == "done"
    assert waited < TAKEN_OVER
