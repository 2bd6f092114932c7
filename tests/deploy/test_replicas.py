"""Servers as the chart places them: on PostgreSQL and RabbitMQ, behind addresses that may lead to any of them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
def started(folder: Path, settings: dict[str, str], *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`limner serve` as a pod runs it, with a folder of its own and settings from the environment."""
    folder.mkdir()
    (folder / "pipeline.py").write_text(PIPELINE)
    (folder / "inferrers.py").write_text(INFERRERS)
    command = [sys.executable, "-m", "limner.cli.main", "serve", "--grace=20", *options]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIMNER_")}
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=clean | settings, stdout=said, stderr=said)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def serving(
    folder: Path, settings: dict[str, str], *, role: str = "all"
) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client]]:
    """A server that answers, and a client of it."""
    port = free_port()
    infers_nothing = () if role == "api" else ("--workers=0",)
    with (
        started(folder, settings, f"--role={role}", f"--port={port}", *infers_nothing) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        until(lambda: _ready(client) or process.poll() is not None, within=3 * LONG)
        assert process.poll() is None, (folder / "said.txt").read_text()
        yield process, client


@contextmanager
def conducting(folder: Path, settings: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A server that only conducts; nobody asks it anything."""
    with started(folder, settings, "--role=engine", "--workers=0") as process:
        until(lambda: (folder / "said.txt").read_text() or process.poll() is not None, within=3 * LONG)
        assert process.poll() is None, (folder / "said.txt").read_text()
        yield process


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


@contextmanager
def shared(folder: Path, require_service: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """The settings of servers that share everything."""
    bus = f"{require_service('rabbitmq')}?prefix=test-{uuid4().hex[:12]}"
    with schema_url(require_service("postgresql")) as store:
        yield {
            "LIMNER_STORE": store,
            "LIMNER_BUS": bus,
            "LIMNER_SECRET_KEY": "k" * 40,
            "LIMNER_ARTIFACTS": f"file:{folder}/artifacts",
            "LIMNER_LEASE": "5",
        }


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_worker_whose_server_stands_by_ends_a_job_whose_leader_is_killed(
    tmp_path: Path, require_service: Callable[[str], str]
) -> None:
    """Tasks are taken and answers committed by whichever replica is asked; the loss of the leader costs nothing."""
    with (
        shared(tmp_path, require_service) as settings,
        serving(tmp_path / "a", settings) as (leader, _),
        serving(tmp_path / "b", settings) as (_, second),
        WorkerProcess(tmp_path / "w", str(second.base_url), pace=0.01),
    ):
        job = _submitted(second)

        # when
        until(lambda: _stands(second, job)[1] >= RECORDS // 5)
        leader.kill()

        # then
        until(lambda: _stands(second, job)[0] not in ("waiting", "running"), within=2 * LONG)
        assert _stands(second, job) == ("done", RECORDS)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_that_conduct_and_three_that_answer_lose_one_of_each(
    tmp_path: Path, require_service: Callable[[str], str]
) -> None:
    """The one that leads and the one that took the job are killed: it ends, and the others tell it exactly."""
    with shared(tmp_path, require_service) as settings, ExitStack() as stack:
        leader, _ = [stack.enter_context(conducting(tmp_path / name, settings)) for name in ("e1", "e2")]
        doors = [stack.enter_context(serving(tmp_path / name, settings, role="api")) for name in ("a1", "a2", "a3")]
        stack.enter_context(WorkerProcess(tmp_path / "w", settings["LIMNER_BUS"], pace=0.01))
        (took, first), (_, second), (_, third) = doors
        job = _submitted(first)

        # when
        until(lambda: _stands(second, job)[1] >= RECORDS // 5)
        leader.kill()
        took.kill()

        # then
        until(lambda: _stands(third, job)[0] not in ("waiting", "running"), within=2 * LONG)
        assert [_stands(client, job) for client in (second, third)] == [("done", RECORDS)] * 2


def _submitted(client: httpx.Client) -> str:
    """A job over all the records."""
    records = [{"id": f"r{n}", "fields": {"number": n}} for n in range(RECORDS)]
    asked = client.post("/api/v1/jobs", json={"pipeline": "far", "records": records})
    return str(asked.raise_for_status().json()["id"])


def _stands(client: httpx.Client, job: str) -> tuple[str, int]:
    """The state of a job, and how many of its records are done."""
    told = client.get(f"/api/v1/jobs/{job}").raise_for_status().json()
    counts = told["counts"]
    assert sum(counts[fate] for fate in ("open", "done", "failed", "skipped", "cancelled")) == counts["records"]
    return str(told["state"]), int(counts["done"])
