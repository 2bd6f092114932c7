"""The open protocol: any client in any language takes tasks and hands results in, over plain HTTP and JSON."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.far.rig import HELLO, SERVES, Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose own process infers nothing."""
    with Server(tmp_path / "project") as served:
        yield served


def take(server: Server, **more: object) -> list[dict]:  # type: ignore[type-arg]
    answer = server.post("tasks:take", {"worker_id": "w1", "serves": SERVES, "wait_s": 10, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["tasks"]  # type: ignore[no-any-return]


def results(task: dict) -> list[dict]:  # type: ignore[type-arg]
    return [
        {"key": record["key"], "ok": True, "value": {"value": 2 * record["reads"]["number"]}}
        for record in task["records"]
    ]


def test_a_plain_client_does_a_job(server: Server) -> None:
    """Hello, take, complete: the job is done, exactly, and every receipt says so."""
    job = server.submit([{"number": n} for n in range(20)])
    hello = server.post("workers:hello", HELLO)

    seen = 0
    while seen < 20:
        for task in take(server, max_tasks=2):
            assert task["stage"] == "far.double"
            answer = {"task_id": task["task_id"], "token": task["lease"]["token"], "results": results(task)}
            told = server.post("tasks:complete", {"worker_id": "w1", "answers": [answer]}).json()["tasks"]
            assert [(one["state"], one["open"], one["problems"]) for one in told] == [("committed", 0, [])]
            seen += len(task["records"])

    assert hello.json()["told"] == []
    assert hello.json()["heartbeat_s"] == 15.0
    assert server.wait(job) == "done"
    assert server.values("double") == {f"r{n}": {"value": 2 * n} for n in range(20)}
