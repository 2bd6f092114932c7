"""The command `serve` as a process: says where it is, stops gracefully, and opens no door to everybody."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.waiting import until

pytestmark = pytest.mark.slow

LIMNER = str(Path(sys.executable).with_name("limner"))


@contextmanager
def process(project: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address, killed at the end if it still lives."""
    running = subprocess.Popen(
        [LIMNER, "serve", "--port", "0", "--json", *words],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert line, running.communicate()[1]
        yield running, json.loads(line)["url"] or ""
    finally:
        running.kill()
        running.communicate()


def limner(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder."""
    return subprocess.run([LIMNER, *words], cwd=project, capture_output=True, text=True, check=False, timeout=60)


def test_serves_and_stops(project: Path) -> None:
    """It serves on SQLite with nothing else, prints its address in one line, and ends with status 0 on SIGTERM."""
    with process(project) as (running, url):
        # given
        body = {"pipeline": "words", "records": [{"id": "a", "text": "a"}]}
        made = httpx.post(f"{url}/api/v1/jobs", json=body).json()
        until(lambda: httpx.get(f"{url}{made['href']}").json()["ended"] is not None)

        # when
        running.send_signal(signal.SIGTERM)
        status = running.wait(10)

    # then
    assert status == 0
    assert json.loads(limner(project, "jobs", "--json").stdout)["jobs"][0]["id"] == made["id"]


def test_work_goes_on_with_the_next_server(project: Path) -> None:
    """What a server that was stopped had not done is done by the next one; nothing is lost and nothing done twice."""
    # given
    records = [{"id": f"r{n}", "text": f"t{n}"} for n in range(200)]
    with process(project) as (running, url):
        made = httpx.post(f"{url}/api/v1/jobs", json={"pipeline": "words", "records": records}).json()
        running.send_signal(signal.SIGTERM)
        assert running.wait(15) == 0

    # when
    with process(project) as (running, url):
        until(lambda: httpx.get(f"{url}{made['href']}").json()["ended"] is not None)
        job = httpx.get(f"{url}{made['href']}").json()

    # then
    assert (job["state"], job["counts"]["done"], job["counts"]["open"]) == ("done", 200, 0)


def test_second_engine_is_refused(project: Path) -> None:
    """A second server over the same project says which process is in its way; one that answers only may run beside."""
    with process(project):
        # when
        second = limner(project, "serve", "--port", "0")
        with process(project, "--role", "api") as (_, url):
            status = httpx.get(f"{url}/readyz").status_code

    # then
    assert second.returncode == 2
    assert "--role api" in second.stderr
    assert status == 200


def test_one_that_only_answers_hands_out_no_tasks(project: Path) -> None:
    """Far workers who ask it would wait for ever: they are refused at once, and told whom to ask."""
    hello = {"worker_id": "w", "serves": [{"stage": "shout", "implementation": "default", "version": {"code": "1"}}]}
    take = {"worker_id": "w", "serves": [{"stage": "shout", "implementation": "default"}], "wait_s": 20}
    with process(project), process(project, "--role", "api") as (_, url):
        # when
        answers = [
            httpx.get(f"{url}/api/v1/work/implementations"),
            httpx.post(f"{url}/api/v1/workers:hello", json=hello),
            httpx.post(f"{url}/api/v1/tasks:take", json=take),
            httpx.post(f"{url}/api/v1/tasks:complete", json={"worker_id": "w", "answers": []}),
        ]
        worker = limner(project, "worker", "--url", url)

    # then
    assert [answer.status_code for answer in answers] == [409] * 4
    assert all("--role api" in answer.json()["detail"] for answer in answers)
    assert worker.returncode == 2
    assert "give workers the address" in worker.stderr


@pytest.mark.parametrize("words", [["--host", "0.0.0.0"], ["--host", "::"]])
def test_public_address_needs_a_token(project: Path, words: list[str]) -> None:
    """Where others would reach it, it refuses to start while no token exists, and says what to do."""
    # when
    refused = limner(project, "serve", "--port", "0", *words)

    # then
    assert refused.returncode == 2
    assert "limner token create" in refused.stderr


def test_taken_port(project: Path) -> None:
    """A port that is taken is told with what to change."""
    with process(project) as (_, url):
        # when
        refused = limner(project, "serve", "--role", "api", "--port", url.rpartition(":")[2])

    # then
    assert refused.returncode == 2
    assert "--port" in refused.stderr


def test_infer_from_the_command_line(project: Path) -> None:
    """One record is inferred by a value, by a file and by its id; what fails has status 1."""
    # given
    (project / "data.bin").write_bytes(b"abcd")
    (project / "words.jsonl").write_text('{"id": "mine", "text": "stored"}\n', encoding="utf-8")
    assert limner(project, "run", "words", "words.jsonl").returncode == 0

    # when
    by_value = limner(project, "infer", "shout", "--value", "text=hello", "--json")
    by_file = limner(project, "infer", "files.weigh", "--file", "data.bin", "--json")
    by_id = limner(project, "infer", "shout", "--id", "mine", "--json")
    unknown = limner(project, "infer", "sing")
    (project / "broken").write_text("bad", encoding="utf-8")
    failed = limner(project, "infer", "shout", "--value", "text=bad")

    # then
    assert json.loads(by_value.stdout)["value"] == {"loud": "HELLO"}
    assert json.loads(by_file.stdout)["value"]["size"] == 4
    assert json.loads(by_id.stdout)["value"] == {"loud": "STORED"}
    assert (unknown.returncode, failed.returncode) == (2, 1)
    assert "MODEL_ERROR" in failed.stderr
