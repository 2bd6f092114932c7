"""The server is killed while far workers work, again and again; no answer that it took is lost (rows A10, E)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.far.rig import PIPELINE
from tests.far.workers import INFERRERS, WorkerProcess
from tests.waiting import LONG, until
from tools.services import free_port

RECORDS = 300
KILLS = 3


@contextmanager
def serving(folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """``limner serve`` in *folder*, whose own process infers nothing, once it answers; killed at the end."""
    command = [sys.executable, "-m", "limner.cli.main", "serve", "--port", str(port), "--workers", "0"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIMNER_")}
    with (folder / "served.txt").open("a") as said:
        server = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, env=clean)
    try:
        until(lambda: answers(port) or server.poll() is not None, within=3 * LONG)
        assert server.poll() is None, (folder / "served.txt").read_text()
        yield server
    finally:
        server.kill()
        server.wait()


def answers(port: int) -> bool:
    """Whether the server is ready."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a10_a_server_that_is_killed_loses_no_answer(tmp_path: Path) -> None:
    """Killed three times in the middle of a job, it ends it; what it said was committed is there, once, and adds up."""
    folder, port = tmp_path / "project", free_port()
    folder.mkdir()
    (folder / "pipeline.py").write_text(PIPELINE)
    (folder / "inferrers.py").write_text(INFERRERS)
    (folder / "limner.toml").write_text("lease = 5.0\nin_flight = 16\n")
    url = f"http://127.0.0.1:{port}"
    api = f"{url}/api/v1"
    rows = [{"id": f"r{n}", "fields": {"number": n}} for n in range(RECORDS)]

    def counts(job: str) -> dict[str, int]:
        found: dict[str, int] = httpx.get(f"{api}/jobs/{job}", timeout=30).json()["counts"]
        assert sum(found[name] for name in ("open", "done", "failed", "skipped", "cancelled")) == found["records"]
        return found

    def state(job: str) -> str:
        return str(httpx.get(f"{api}/jobs/{job}", timeout=30).json()["state"])

    with WorkerProcess(tmp_path / "w", url, pace=0.02) as worker:
        job, seen = "", 0
        for _ in range(KILLS):
            with serving(folder, port) as server:
                if not job:
                    made = httpx.post(f"{api}/jobs", json={"pipeline": "far", "records": rows}, timeout=30)
                    assert made.status_code == 202, made.text
                    job = made.json()["id"]
                goal = seen + RECORDS // (KILLS + 2)
                until(lambda goal=goal, job=job: counts(job)["done"] >= goal)  # type: ignore[misc]  # bound by default
                now = counts(job)["done"]
                assert now >= seen, "progress never falls, over a restart neither"
                seen = now
                server.send_signal(signal.SIGKILL)
                server.wait()
        with serving(folder, port):
            assert counts(job)["done"] >= seen
            until(lambda: state(job) not in ("waiting", "running"), within=2 * LONG)
            assert (state(job), counts(job)["done"]) == ("done", RECORDS)
            lines = httpx.get(f"{api}/jobs/{job}/results", timeout=30).text.splitlines()
        worker.kill()

    found = {row["id"]: row["values"]["double"] for row in map(json.loads, lines)}
    assert found == {f"r{n}": {"value": 2 * n} for n in range(RECORDS)}
    # What a killed server had handed out is handed out again: at most the tasks in one worker's hands, for each kill.
    assert len(worker.calls()) - RECORDS <= KILLS * 3 * 8
