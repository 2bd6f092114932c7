"""Workers far away, as real processes: killed, stopped, hung, told to stop; what they had in hand is never lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from limner.app.tokens import Tokens
from limner.domain.jobs import Job
from limner.domain.workers import LIVE_FOR
from tests.far.rig import PIPELINE, Server
from tests.far.workers import INFERRERS, WorkerProcess
from tests.waiting import until
from tools.services import free_port

SETTINGS = "lease = 2.0\nin_flight = 64\n"
#: One record a batch, and a time limit of a second.
QUICK = PIPELINE.replace("batch=4, task_size=8", "batch=1, task_size=4").replace("seconds=20", "seconds=1.5")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose own process infers nothing, and whose leases are short."""
    with Server(tmp_path / "project", inferrers=INFERRERS, settings=SETTINGS) as served:
        yield served


def numbers(count: int) -> list[dict[str, int]]:
    """Records."""
    return [{"number": n} for n in range(count)]


def exact(server: Server, job: Job, count: int) -> None:
    """Every record of the job is done, once, with its own value."""
    values = server.values(job)
    assert values == {f"r{n}": {"value": 2 * n} for n in range(count)}
    counts = server.counts(job)
    assert (counts.records, counts.done, counts.open) == (count, count, 0)


@pytest.mark.slow
def test_a_worker_does_a_job_and_ends_when_nothing_is_left(server: Server, tmp_path: Path) -> None:
    """It serves what it finds wanted, and with --idle-exit it ends with status 0."""
    job = server.submit(numbers(100))

    with WorkerProcess(tmp_path / "w", server.url, "--idle-exit", "8", "--parallel", "2") as worker:
        assert server.wait(job) == "done"
        assert worker.ended() == 0

    exact(server, job, 100)
    assert sorted(worker.calls()) == list(range(100))
    (shown,) = server.get("workers").json()["workers"]
    assert (shown["records"], shown["software"]) == (100, "limner")


@pytest.mark.slow
def test_a9_a_killed_worker_loses_nothing(server: Server, tmp_path: Path) -> None:
    """Killed in the middle of a batch, twice; another one ends the job, exactly; only what was in hand is redone."""
    job = server.submit(numbers(200))

    for number in (1, 2):
        with WorkerProcess(tmp_path / f"w{number}", server.url, pace=0.02) as worker:
            worker.begins(calls=20)
            worker.kill()
    with WorkerProcess(tmp_path / "w3", server.url):
        assert server.wait(job, within=timedelta(seconds=60)) == "done"

    exact(server, job, 200)
    calls = Counter(n for number in (1, 2, 3) for n in _calls(tmp_path / f"w{number}"))
    assert set(calls) == set(range(200))
    # A killed worker had one task at work and one ahead, of eight records each.
    assert sum(calls.values()) - 200 <= 2 * 16


def _calls(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "calls.txt").read_text().split()]


@pytest.mark.timed
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a20_a_stopped_worker_is_stale_and_its_peers_are_live(server: Server, tmp_path: Path) -> None:
    """Of three workers one stands still: only that one is seen as stale, its work is done by others, it goes on."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(WorkerProcess(tmp_path / f"w{n}", server.url, "--name", f"w{n}", pace=0.05))
            for n in range(3)
        ]
        for worker in workers:
            worker.serves()
        job = server.submit(numbers(120))
        workers[0].begins()
        workers[0].send(signal.SIGSTOP)

        def states() -> dict[str, str]:
            return {one["id"]: one["state"] for one in server.get("workers").json()["workers"]}

        assert server.wait(job, within=timedelta(seconds=60)) == "done"
        began = time.monotonic()
        until(lambda: states()["w0"] == "stale", within=2 * LIVE_FOR)
        assert time.monotonic() - began < LIVE_FOR.total_seconds() + 5
        assert states() == {"w0": "stale", "w1": "live", "w2": "live"}
        workers[0].send(signal.SIGCONT)
        until(lambda: states()["w0"] == "live", within=2 * LIVE_FOR)

    exact(server, job, 120)


@pytest.mark.slow
def test_a21_a_record_that_hangs_ends_by_its_limit(tmp_path: Path) -> None:
    """A call that never returns is ended, and the record is tried again; the worker beats all the while."""
    with Server(tmp_path / "project", pipeline=QUICK, inferrers=INFERRERS, settings=SETTINGS) as server:
        job = server.submit([{"number": n} for n in (1, 2, -1, 3)])
        with WorkerProcess(tmp_path / "w", server.url) as worker:
            assert server.wait(job) == "done"

        assert server.values(job)["r2"] == {"value": -2}
        assert worker.calls().count(-1) == 2
        with server.host.store.reading() as tx:
            rows = tx.connection.exec_driver_sql("SELECT code, final FROM attempts").fetchall()
        assert [tuple(row) for row in rows] == [("STAGE_TIMEOUT", 0)]


@pytest.mark.slow
def test_a22_a_long_task_keeps_its_lease(server: Server, tmp_path: Path) -> None:
    """A record that takes three leases is done in one attempt."""
    job = server.submit(numbers(1))

    with WorkerProcess(tmp_path / "w", server.url, pace=6.5) as worker:
        assert server.wait(job) == "done"

    assert worker.calls() == [0]
    with server.host.store.reading() as tx:
        (attempt,) = tx.connection.exec_driver_sql("SELECT attempt FROM tasks").scalars()
    assert attempt == 1


@pytest.mark.slow
def test_a23_sigterm_drains(server: Server, tmp_path: Path) -> None:
    """It finishes the batch in hand, gives the rest back at once, and ends with status 0; no attempt is charged."""
    job = server.submit(numbers(64))
    with WorkerProcess(tmp_path / "w1", server.url, pace=0.05) as first:
        first.begins(calls=3)
        first.send(signal.SIGTERM)
        assert first.ended() == 0
    done = server.counts(job).done
    with WorkerProcess(tmp_path / "w2", server.url) as second:
        second.begins()
        assert server.wait(job) == "done"

    exact(server, job, 64)
    assert 0 < done < 64
    assert done == len(first.calls()), "what it began it finished, and answered before it ended"
    assert sorted(first.calls() + second.calls()) == list(range(64)), "nothing was done twice"
    with server.host.store.reading() as tx:
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar() == 0


@pytest.mark.slow
@pytest.mark.timed
def test_a23_near_its_walltime_it_takes_no_more(server: Server, tmp_path: Path) -> None:
    """With less left than twice a task it stops, in time, with status 0, and the others go on with what is left."""
    job = server.submit(numbers(400))
    began = time.monotonic()
    with WorkerProcess(tmp_path / "w1", server.url, "--walltime", "14", pace=0.1) as first:
        assert first.ended() == 0
        assert time.monotonic() - began < 14
    with WorkerProcess(tmp_path / "w2", server.url):
        assert server.wait(job) == "done"

    exact(server, job, 400)
    assert "walltime" in first.said()


@pytest.mark.slow
@pytest.mark.timed
def test_a_walltime_ends_the_wait_for_a_server(tmp_path: Path) -> None:
    """A worker whose server is away asks again only as long as there is time, and ends with status 0."""
    began = time.monotonic()
    with WorkerProcess(tmp_path / "w", f"http://127.0.0.1:{free_port()}", "--walltime", "3s") as worker:
        assert worker.ended() == 0

    assert time.monotonic() - began < 4
    assert "Waiting for the server" in worker.said()
    assert "the walltime is nearly over" in worker.said()


def test_a_far_worker_loads_no_store() -> None:
    """It knows no store and no engine, and so its first seconds do not go into loading them."""
    heavy = {"sqlalchemy", "limner.engine", "numpy"}
    code = f"import limner.app.far_worker, sys; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a25_a_worker_is_told_of_a_cancel(server: Server, tmp_path: Path) -> None:
    """It ends what it has in hand of a cancelled job, says nothing more of it, and goes on with another job."""
    job = server.submit(numbers(64))
    with WorkerProcess(tmp_path / "w", server.url, pace=0.1) as worker:
        worker.begins(calls=2)
        server.host.cancel(job.id)
        done = server.counts(job).done
        until(lambda: worker.logged("task_cancelled"))
        (worker.folder / "pace").write_text("0")
        other = server.submit(numbers(8))
        assert server.wait(other) == "done"

    assert server.job(job).state == "cancelled"
    assert server.counts(job).done == done
    assert len(worker.calls()) < 64


@pytest.mark.slow
def test_the_server_may_ask_a_worker_to_drain(server: Server, tmp_path: Path) -> None:
    """What an administrator asks for is told with the next heartbeat; the worker ends with status 0."""
    with WorkerProcess(tmp_path / "w", server.url, "--name", "w") as worker:
        worker.serves()
        assert server.post("workers:drain", {"worker_id": "w"}).status_code == 200
        assert worker.ended() == 0

    assert "drain" in worker.said()
    assert server.post("workers:drain", {"worker_id": "nobody"}).status_code == 404


@pytest.mark.slow
def test_a_worker_outlives_its_server(tmp_path: Path) -> None:
    """The server goes away in the middle of a job and comes back; the worker waits, and the job ends, exactly."""
    folder = tmp_path / "project"
    with Server(folder, inferrers=INFERRERS, settings=SETTINGS) as server:
        job = server.submit(numbers(100))
        worker = WorkerProcess(tmp_path / "w", server.url, pace=0.02).__enter__()
        worker.begins(calls=10)
    try:
        with Server(folder, inferrers=INFERRERS, settings=SETTINGS, port=server.port) as again:
            assert again.wait(job) == "done"
            exact(again, job, 100)
    finally:
        worker.kill()


@pytest.mark.slow
def test_a_token_that_is_not_accepted_is_told(server: Server, tmp_path: Path) -> None:
    """Without a right token it ends with status 2 and a sentence; the token is in no log."""
    made = Tokens(server.host.store, clock=server.host.clock)
    token = made.create("far", scopes=["work"]).token

    with WorkerProcess(tmp_path / "w1", server.url) as nobody:
        assert nobody.ended() == 2
    with WorkerProcess(tmp_path / "w2", server.url, "--idle-exit", "0.5", environment={"LIMNER_TOKEN": token}) as right:
        assert right.ended() == 0

    assert "401" in nobody.said()
    logs = [file.read_text() for file in tmp_path.rglob("*") if file.suffix in (".log", ".txt")]
    assert all(token not in text for text in logs)


@pytest.mark.slow
def test_what_the_server_does_not_have_is_told(server: Server, tmp_path: Path) -> None:
    """A stage that nobody declares, and inferrers that are not here, end it with status 2 and the known names."""
    with WorkerProcess(tmp_path / "w1", server.url, "--stage", "triple") as lost:
        assert lost.ended() == 2
    with WorkerProcess(tmp_path / "w2", server.url, inferrers="") as empty:
        assert empty.ended() == 2

    assert "it wants served: far.double/default" in lost.said()
    assert "Cannot serve far.double/default" in empty.said()


@pytest.mark.slow
def test_a_worker_with_other_code_is_told_and_goes_on_once_it_fits(server: Server, tmp_path: Path) -> None:
    """A worker of another code version says why it gets nothing; once its code is right it works, without a restart."""
    job = server.submit(numbers(8))
    other = INFERRERS.replace('version = "1"', 'version = "2"')

    with WorkerProcess(tmp_path / "w", server.url, inferrers=other) as worker:
        until(lambda: "code version is 2 and not 1" in worker.said())
        assert worker.calls() == []
        (worker.folder / "inferrers.py").write_text(INFERRERS)
        assert server.wait(job) == "done"


@pytest.mark.slow
def test_what_the_server_cannot_load_its_workers_describe(tmp_path: Path) -> None:
    """A server without the inferrers (or their packages) learns the version from the worker, and its jobs run."""
    with Server(tmp_path / "project", inferrers="", settings=SETTINGS) as server:
        with WorkerProcess(tmp_path / "w", server.url) as worker:
            worker.serves()
            job = server.submit(numbers(20))
            assert server.wait(job) == "done"

        exact(server, job, 20)


@pytest.mark.slow
def test_a18_a_worker_listens_on_nothing(server: Server, tmp_path: Path) -> None:
    """Neither it nor a process that it started has a listening socket, while it works."""
    job = server.submit(numbers(64))
    with WorkerProcess(tmp_path / "w", server.url, pace=0.05) as worker:
        worker.begins()
        family = _family(worker.process.pid)
        held = {inode for pid in family for inode in _sockets(pid)}
        assert len(family) >= 2
        assert held, "it holds its connection to the server"
        assert held & _listening() == set()
        (worker.folder / "pace").write_text("0")
        assert server.wait(job) == "done"
    # The probe sees what listens: this process's server does.
    assert _sockets(os.getpid()) & _listening()


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    children: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        children += map(int, (thread / "children").read_text().split())
    return [pid, *(one for child in children for one in _family(child))]


def _sockets(pid: int) -> set[str]:
    """The sockets that a process holds."""
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = str(link.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        return found
    return found


def _listening() -> set[str]:
    """The sockets of this machine that listen."""
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A"}


@pytest.mark.slow
def test_the_command_line_shows_workers(server: Server, tmp_path: Path) -> None:
    """`limner workers` names who works, with liveness, speed and memory, and who serves what."""
    job = server.submit(numbers(40))
    with WorkerProcess(tmp_path / "w", server.url, "--name", "moth") as worker:
        assert server.wait(job) == "done"
        until(lambda: server.get("workers").json()["workers"][0]["rss_bytes"])
        until(lambda: server.get("workers").json()["workers"][0]["records"] == 40)
        command = [sys.executable, "-m", "limner.cli.main", "--project", str(server.folder), "workers"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        shown = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
        worker.kill()

    (one,) = json.loads(shown)["workers"]
    (way,) = json.loads(shown)["implementations"]
    assert (one["id"], one["state"], one["records"]) == ("moth", "live", 40)
    assert one["rss_bytes"] > 10_000_000
    assert (way["address"], way["live"], way["ready"], way["backlog"]) == ("far.double/default", 1, 1, 0)
    assert way["p95_s"] is not None
    assert "moth" in told
    assert "far.double/default" in told
