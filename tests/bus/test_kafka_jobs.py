"""Jobs over Kafka: the same project with another setting, by its own workers and by one that knows the broker alone."""

import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from limner.app.doctor import State
from limner.app.doctor_far import examine_ways
from tests.far.rig import INFERRERS, Server
from tests.far.workers import WorkerProcess
from tests.waiting import until
from tools.services import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
RECORDS = 40


@pytest.fixture
def url(require_service: Callable[[str], str]) -> str:
    """The broker, and topics of the test's own there."""
    return f"{require_service('kafka')}?prefix=test-{uuid4().hex[:12]}&partitions=4"


def settings(url: str) -> str:
    """Of a server on the broker, where no lease is long."""
    return f"bus = '{url}'\nlease = 3.0\nallow_hosts = ['127.0.0.1']\nparallel = 1\n"


def exact(server: Server) -> None:
    """Every record has its one result, and none was charged for what became of others."""
    with server.host.store.reading() as tx:
        rows = tx.connection.exec_driver_sql("SELECT record, count(*) FROM results GROUP BY record").all()
        charged = tx.connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar()
    assert [count for _, count in rows] == [1] * RECORDS
    assert charged == 0


def test_a_server_and_its_workers_on_one_broker(url: str, tmp_path: Path) -> None:
    """Tasks and answers go by the broker, and the job ends as on any bus."""
    with Server(tmp_path / "server", settings=settings(url), inferrers=INFERRERS, own_workers=True) as server:
        job = server.submit([{"number": number} for number in range(RECORDS)])

        assert server.wait(job) == "done"
        exact(server)


def test_workers_that_know_only_the_broker_are_killed(url: str, tmp_path: Path) -> None:
    """One of two is killed with work in hand, and what was taken and not answered is sent again when its lease ends."""
    with Server(tmp_path / "server", settings=settings(url)) as server, ExitStack() as stack:
        first, second = (
            stack.enter_context(WorkerProcess(tmp_path / name, url, "--name", name, pace=0.1)) for name in ("w1", "w2")
        )
        until(lambda: len(server.get("workers").json()["workers"]) == 2)
        job = server.submit([{"number": number} for number in range(RECORDS)])
        until(lambda: (tmp_path / "w1" / "calls.txt").exists())
        first.kill()

        assert server.wait(job) == "done"
        exact(server)
        second.send(signal.SIGTERM)
        assert second.ended() == 0


def test_doctor_knows_the_way(url: str, tmp_path: Path) -> None:
    """It says which broker is reached, whether a server answers behind it, and which address is none."""
    with Server(tmp_path / "server", settings=settings(url)):
        found = examine_ways(url, token="")
    alone = examine_ways(f"kafka://127.0.0.1:{free_port()}", token="")
    wrong = examine_ways("kafka://host?odd=1", token="")

    assert [one.state for one in found] == [State.SOUND] * 3
    assert "answers by the broker" in found[-1].said
    assert [one.state for one in alone] == [State.WRONG]
    assert "cannot be reached" in alone[0].said
    assert "kafka://user:password@host" in wrong[0].said
