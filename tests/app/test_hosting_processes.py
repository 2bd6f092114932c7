"""Servers as real processes: killed in the middle of taking in; met by a second one, and by a command beside them."""

import random
import subprocess
from pathlib import Path

import httpx
import pytest

from limner.app.preparing import PAGE
from limner.testing.picture_server import PictureServer
from tests.app.hosts import PIPELINE, Hands, at_work, counts_of, ended, job_of, sealed
from tests.faults.project import DEADLINE, Project, numbers, tiny
from tests.waiting import until
from tools.services import free_port

pytestmark = pytest.mark.slow
ROWS = 9 * PAGE
#: One row in so many is none.
WRONG = 997


def serving(project: Project, *options: str) -> tuple["subprocess.Popen[str]", str]:
    """A server of the project, and where it can be reached."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = project.start("serve", "--port", str(port), *options)
    until(lambda: _answers(url), during=process)
    assert process.poll() is None, project.printed()
    return process, url


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.timeout(240)
def test_a_server_killed_while_it_takes_in_goes_on_and_counts_nothing_twice(tmp_path: Path) -> None:
    """Killed twice in the middle of a manifest: every row counts once in the end, those that are no records too."""
    lines = [f'{{"id": "r{n}", "n": {n}}}\n' if n % WRONG else "{\n" for n in range(ROWS)]
    wrong = -(-ROWS // WRONG)
    project = Project(
        tmp_path / "project",
        pipeline=PIPELINE.replace("TASK", "5000"),
        inferrers="",
        settings='allow_hosts = ["127.0.0.1"]\n',
    )
    dice = random.Random(3)
    with PictureServer({"list.jsonl": "".join(lines).encode()}) as files:
        server, url = serving(project, "--workers", "0")
        body = {"pipeline": "numbers", "manifest": {"url": files.url("list.jsonl")}}
        answer = httpx.post(f"{url}/api/v1/jobs", json=body, timeout=30)
        assert answer.status_code == 202, answer.text
        for kill in range(2):
            goal = (kill + 1) * 3 * PAGE + dice.randrange(PAGE)
            until(lambda goal=goal: _entered(project) >= goal, during=server)  # type: ignore[misc]  # bound by default
            assert project.kill(server)
            assert 0 < _entered(project) < ROWS - wrong, "it was to be killed in the middle"
            if not kill:
                server, url = serving(project, "--workers", "0")

    with at_work(project.folder, task_size=5000, settings='allow_hosts = ["127.0.0.1"]\n') as projects:
        host = projects.host("default")
        with host.store.reading() as tx:
            (job,) = tx.jobs.listing()
        found = sealed(host, job)
        assert (found.taken, found.set_aside) == (ROWS, wrong)
        assert counts_of(host, job).records == ROWS - wrong
        with host.store.reading() as tx:
            rows = [int(row[0]) for row in tx.jobs.rows_aside(job.id)]
        assert rows == [n + 1 for n in range(0, ROWS, WRONG)]
        with Hands(host):
            assert ended(host, job) == "done"
        assert counts_of(host, job).done == ROWS - wrong == job_of(host, job).inferred


def _entered(project: Project) -> int:
    """Records in the ledger of the one job."""
    return sum(sum(counts.values()) for _, _, counts in project.jobs())


@pytest.mark.timeout(240)
def test_a_running_server_does_what_a_command_asks_and_is_alone(tmp_path: Path) -> None:
    """A second server is refused in words; `limner run` beside it hands its records over, and it does the work."""
    project = tiny(tmp_path / "project", stages=1)
    source = project.fill("in.jsonl", numbers(300))
    server, url = serving(project)

    assert project.limner("serve", "--port", str(free_port())) == 2
    assert f"Process {server.pid} runs the engine of project default already" in project.printed()
    assert project.limner("run", "tiny", source) == 0

    ((_, state, counts),) = project.jobs()
    assert (state, counts["done"], counts["open"]) == ("done", 300, 0)
    (worker,) = {str(row[0]) for row in project.query("SELECT worker FROM tasks")}
    assert worker.endswith(f"-{server.pid}"), "the command must not have done it itself"
    assert set(project.calls().values()) == {1}
    assert httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    server.terminate()
    assert server.wait(DEADLINE) == 0
    assert "nothing is lost" in project.printed()
    assert project.children() == []
