"""Servers as the chart places them: two on PostgreSQL and RabbitMQ, behind one address that may lead to either."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.far.rig import PIPELINE
from tests.far.workers import INFERRERS, WorkerProcess
from tests.store.databases import schema_url
from tests.waiting import LONG, until
from tools.services import free_port

RECORDS = 300


@contextmanager
def serving(folder: Path, settings: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client]]:
    """A server as a pod runs it, with a folder of its own and settings from the environment, and a client of it."""
    folder.mkdir()
    (folder / "pipeline.py").write_text(PIPELINE)
    (folder / "inferrers.py").write_text(INFERRERS)
    port = free_port()
    command = [sys.executable, "-m", "limner.cli.main", "serve", "--port", str(port), "--workers=0", "--grace=20"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIMNER_")}
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=clean | settings, stdout=said, stderr=said)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                until(lambda: _ready(client) or process.poll() is not None, within=3 * LONG)
                assert process.poll() is None, (folder / "said.txt").read_text()
                yield process, client
        finally:
            process.kill()
            process.wait()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_whose_server_stands_by_ends_a_job_whose_leader_is_killed(
    tmp_path: Path, require_service: Callable[[str], str]
) -> None:
    """Tasks are taken and answers committed by whichever replica is asked; the loss of the leader costs nothing."""
    bus = f"{require_service('rabbitmq')}?prefix=test-{uuid4().hex[:12]}"
    with schema_url(require_service("postgresql")) as store:
        settings = {
            "LIMNER_STORE": store,
            "LIMNER_BUS": bus,
            "LIMNER_SECRET_KEY": "k" * 40,
            "LIMNER_ARTIFACTS": f"file:{tmp_path}/artifacts",
            "LIMNER_LEASE": "5",
        }
        with (
            serving(tmp_path / "a", settings) as (leader, _),
            serving(tmp_path / "b", settings) as (_, second),
            WorkerProcess(tmp_path / "w", str(second.base_url), pace=0.01),
        ):
            records = [{"id": f"r{n}", "fields": {"number": n}} for n in range(RECORDS)]
            asked = second.post("/api/v1/jobs", json={"pipeline": "far", "records": records})
            job = asked.raise_for_status().json()["id"]

            # when
            until(lambda: _stands(second, job)[1] >= RECORDS // 5)
            leader.kill()

            # then
            until(lambda: _stands(second, job)[0] not in ("waiting", "running"), within=2 * LONG)
            assert _stands(second, job) == ("done", RECORDS)


def _stands(client: httpx.Client, job: str) -> tuple[str, int]:
    """The state of a job, and how many of its records are done."""
    told = client.get(f"/api/v1/jobs/{job}").raise_for_status().json()
    return str(told["state"]), int(told["counts"]["done"])
