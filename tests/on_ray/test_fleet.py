"""``limner worker --ray`` on a real Ray of two nodes: grows, shrinks, drains, and loses nothing."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limner.app.tokens import Tokens
from limner.domain.jobs import Job
from tests.far.rig import Server
from tests.far.workers import INFERRERS, WorkerProcess
from tests.on_ray.local_ray import LocalRay, lives
from tests.waiting import until

# Ray gives a node half a minute to start, whatever else is run; the first test fetches it, too.
pytestmark = [pytest.mark.slow, pytest.mark.timed, pytest.mark.timeout(400)]
#: Two workers for as long as there is much to do, asked for often, and gone soon.
_QUICK = ("--records-per-actor", "50", "--max", "2", "--poll", "0.2", "--cooldown", "1")


@pytest.fixture
def lease() -> float:
    """Seconds after which what a lost worker held is given to another one."""
    return 3.0


@pytest.fixture
def server(tmp_path: Path, lease: float) -> Iterator[Server]:
    """A server whose own process infers nothing."""
    settings = f"lease = {float(lease)}\nin_flight = 64\n"
    with Server(tmp_path / "project", inferrers=INFERRERS, settings=settings) as served:
        yield served


def fleet(
    local_ray: LocalRay, server: Server, folder: Path, *options: str, pace: float = 0.0, **environment: str
) -> WorkerProcess:
    """``limner worker --ray`` on the two nodes."""
    return WorkerProcess(
        folder,
        server.url,
        *("--ray", local_ray.state.address, *_QUICK, *options),
        environment=local_ray.environment | environment,
        pace=pace,
    )


def wait(workers: WorkerProcess, true: Callable[[], bool]) -> None:
    """Return as soon as *true* is, while the command goes on."""
    until(lambda: true() or workers.process.poll() is not None)
    assert workers.process.poll() is None, workers.said()


def numbers(count: int) -> list[dict[str, int]]:
    """Records."""
    return [{"number": n} for n in range(count)]


def exact(server: Server, job: Job, count: int) -> None:
    """Every record of the job is done, once, with its own value."""
    assert server.values(job) == {f"r{n}": {"value": 2 * n} for n in range(count)}
    counts = server.counts(job)
    assert (counts.records, counts.done, counts.open) == (count, count, 0)


def on_both(local_ray: LocalRay) -> bool:
    """Whether each node has one actor with a worker."""
    return [len(actors) for actors in local_ray.actors()] == [1, 1]


def shown_of(process: int) -> bytes:
    """What a list of processes shows of one: its words and its environment."""
    folder = Path(f"/proc/{process}")
    return (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()


def none(local_ray: LocalRay) -> bool:
    """Whether no node has an actor with a worker."""
    return not any(local_ray.actors())


def test_workers_come_with_the_backlog_and_go_with_it(local_ray: LocalRay, server: Server, tmp_path: Path) -> None:
    """None without work, one on each node for much of it, none once it is done; the token stands nowhere."""
    # given
    token = Tokens(server.host.store, clock=server.host.clock).create("ray", scopes=["work"]).token
    with fleet(local_ray, server, tmp_path / "w", pace=0.02, LIMNER_TOKEN=token) as workers:
        wait(workers, lambda: "Keeps 0 to 2 workers" in workers.said())
        assert none(local_ray)

        # when
        job = server.submit(numbers(400))

        # then
        wait(workers, lambda: on_both(local_ray))
        shown = [shown_of(process) for (actor,) in local_ray.actors() for process in (actor.pid, actor.worker)]
        assert server.wait(job) == "done", workers.said()
        wait(workers, lambda: none(local_ray))
        workers.send(signal.SIGTERM)
        assert workers.ended() == 0

    exact(server, job, 400)
    assert Counter(workers.calls()) == Counter(range(400))
    with server.host.store.reading() as tx:
        seen = {worker.hello.worker_id: worker.records for worker in tx.workers.listing()}
    assert len(seen) == 2
    assert all(records > 50 for records in seen.values())
    logs = [file.read_bytes() for file in Path(local_ray.state.session).rglob("*") if file.is_file()]
    assert logs
    assert not any(token.encode() in said for said in (*shown, *logs, workers.said().encode()))


def test_a_lost_node_loses_nothing(local_ray: LocalRay, server: Server, tmp_path: Path) -> None:
    """Its worker ends with it; the job goes on, and once there is a machine again a worker comes in its place."""
    with fleet(local_ray, server, tmp_path / "w", "--min", "2", pace=0.02) as workers:
        # given
        job = server.submit(numbers(600))
        wait(workers, lambda: on_both(local_ray))
        workers.begins(calls=50)
        ((_,), (lost,)) = local_ray.actors()

        # when
        local_ray.kill(1)
        until(lambda: not lives(lost.worker))
        local_ray.add()

        # then
        wait(workers, lambda: on_both(local_ray))
        assert server.wait(job) == "done", workers.said()
        assert " was lost: " in workers.said()

    exact(server, job, 600)


def test_a_killed_actor_leaves_nothing_behind_and_comes_again(
    local_ray: LocalRay, server: Server, tmp_path: Path
) -> None:
    """The worker that it started ends with it, and another actor comes in its place; so does all with the command."""
    with fleet(local_ray, server, tmp_path / "w", "--min", "2") as workers:
        # given
        wait(workers, lambda: on_both(local_ray))
        ((first,), (second,)) = local_ray.actors()

        # when
        os.kill(second.pid, signal.SIGKILL)
        until(lambda: not lives(second.worker))

        # then
        wait(workers, lambda: on_both(local_ray))
        ((same,), (other,)) = local_ray.actors()
        assert same == first
        assert other.pid != second.pid

        # when
        workers.kill()

        # then
        until(lambda: not lives(first.worker) and not lives(other.worker))


@pytest.mark.parametrize("lease", [300])
def test_sigterm_drains(local_ray: LocalRay, server: Server, tmp_path: Path) -> None:
    """What is in hand is finished or given back before the command ends: nothing is repeated or waits for a lease."""
    # given
    job = server.submit(numbers(400))
    with fleet(local_ray, server, tmp_path / "w", "--min", "2", pace=0.05) as workers:
        wait(workers, lambda: on_both(local_ray))
        workers.begins(calls=20)

        # when
        workers.send(signal.SIGTERM)

        # then
        assert workers.ended() == 0
        assert none(local_ray)
    done = server.counts(job).done
    assert 20 <= done < 400
    assert Counter(workers.calls()) == Counter(workers.calls()[:done])
    with WorkerProcess(tmp_path / "another", server.url) as another:
        assert server.wait(job) == "done"
    exact(server, job, 400)
    assert sorted(workers.calls() + another.calls()) == list(range(400))
    with server.host.store.reading() as tx:
        assert tx.progress.expiries() == 0


def test_workers_that_cannot_work_end_the_command(local_ray: LocalRay, server: Server, tmp_path: Path) -> None:
    """Where none can do what the server wants, it is tried a few times and then said, with status 2."""
    # given
    folder = tmp_path / "w"
    with fleet(local_ray, server, folder, "--min", "2") as workers:
        (folder / "inferrers.py").write_text("import a_module_that_no_node_has\n")

        # then
        assert workers.ended() == 2
    assert "cannot work as they were started" in workers.said()
    assert "Nothing of what the server wants can be served here" in workers.said()
    assert none(local_ray)
