"""Defects of the original's workers (antenna §5): hung, dead and slow ones that looked the same, and one bad image."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from limner.app.hosting import Host
from limner.app.jobs_view import JobProgress, job_progress
from limner.app.submitting import Submission
from limner.app.work_desk import WorkDesk
from limner.app.workers_view import WorkerView, workers_view
from limner.clock import MovedClock
from limner.domain.jobs import Job
from limner.domain.records import RecordIn
from limner.domain.workers import Beat, Hello, Liveness, Served, ServedVersion
from tests.app.hosts import Hands, ask, at_work, counts_of, doubled, ended, taken, things
from tests.waiting import until

WORK = frozenset({"work"})
PIPELINE = """
from datetime import timedelta

from limner import Number, Pipeline, Stage

pipeline = Pipeline("pictures", collection="pictures", standing=False, stages=[
    Stage("look", infer="inferrers:Look", reads={"n": "n"}, outputs={"value": Number()}, batch=8, task_size=8,
          timeout=timedelta(seconds=2)),
])
"""
INFERRERS = '''
import time
from pathlib import Path


class Look:
    """Raises for a whole batch that holds 13; hangs, once, where it holds 99."""

    version = "1"

    def infer(self, n: list[int]) -> list[dict]:
        if 13 in n:
            raise ValueError("13 is broken")
        if 99 in n and not Path("hung").exists():
            Path("hung").touch()
            time.sleep(3600)
        return [{"value": 2 * one} for one in n]
'''


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A project with a worker of its own, whose batches are of eight."""
    folder = tmp_path_factory.mktemp("seeing")
    (folder / "inferrers.py").write_text(INFERRERS)
    with at_work(folder, pipeline=PIPELINE, settings="parallel = 1\nlease = 5.0\n", own_workers=True) as projects:
        yield projects.host("default")


def looked_at(host: Host, *numbers: int) -> Job:
    """A job over pictures, at its end."""
    rows = [RecordIn(collection="pictures", id=f"p{n}", fields={"n": n}) for n in numbers]
    job = host.submit(Submission(pipeline="pictures", rows=rows))
    ended(host, job)
    return job


@pytest.mark.slow
def test_bad_image_bisected(seeing: Host) -> None:
    """There: one bad picture failed its batch, and the job. Here: it fails alone, and its neighbours are done."""
    job = looked_at(seeing, *range(10, 34))

    counts = counts_of(seeing, job)
    assert (counts.done, counts.failed) == (23, 1)
    assert {row.id: row.code for row in seeing.app.failures(job.id)} == {"p13": "MODEL_ERROR"}


@pytest.mark.slow
def test_hung_worker_with_heartbeat(seeing: Host) -> None:
    """There: a deadlock in a process that looked alive. Here: a call has a limit, whoever beats; its batch is done."""
    job = looked_at(seeing, *range(95, 103))

    assert counts_of(seeing, job).done == 8


@pytest.fixture
def clock() -> MovedClock:
    """A clock that moves when it is told."""
    return MovedClock()


@pytest.fixture
def host(tmp_path: Path, clock: MovedClock) -> Iterator[Host]:
    """A project at work by that clock."""
    with at_work(tmp_path, clock=clock) as projects:
        yield projects.host("default")


def hello(desk: WorkDesk, name: str) -> None:
    """A worker introduces itself."""
    serves = [Served(stage="double", implementation="theirs", version=ServedVersion(code="1"))]
    assert desk.hello(Hello(worker_id=name, serves=serves), scopes=WORK, token_id=None).told == []


def seen(host: Host) -> dict[str, WorkerView]:
    """The workers as they are shown."""
    return {worker.id: worker for worker in workers_view(host.store, now=host.clock.now()).workers}


def shown(host: Host, job: Job) -> JobProgress:
    """A job as it is shown."""
    with host.store.reading() as tx:
        found = tx.jobs.get(job.id)
        view = host.engine.view(tx, found.pipeline, dict(found.choices))
        return job_progress(tx, view, found, now=host.clock.now(), served_here=host.serves)


def test_heartbeat_marks_only_sender(host: Host, clock: MovedClock) -> None:
    """There: one that polled made all services look live. Here: a heartbeat speaks for its sender alone."""
    desk = WorkDesk(host)
    hello(desk, "one")
    hello(desk, "two")
    clock.move(timedelta(seconds=40))
    assert {worker.state for worker in seen(host).values()} == {Liveness.STALE}

    desk.heartbeat(Beat(worker_id="one"))

    assert {name: worker.state for name, worker in seen(host).items()} == {
        "one": Liveness.LIVE,
        "two": Liveness.STALE,
    }


def test_no_worker_differs_from_slow_worker(host: Host, clock: MovedClock) -> None:
    """There: both looked the same. Here: a job says that nobody is there, since when, or that somebody is at it."""
    job = host.submit(ask(things(30)))
    assert shown(host, job).waiting_reason == "no live worker for double/theirs (never seen)"

    desk = WorkDesk(host)
    hello(desk, "slow")
    (task,) = taken(host)
    assert shown(host, job).waiting_reason is None
    assert shown(host, job).stages[0].workers_live == 1

    clock.move(timedelta(minutes=14))
    assert shown(host, job).waiting_reason == "no live worker for double/theirs (last seen 14 min ago)"
    desk.heartbeat(Beat(worker_id="slow", busy=[task.id]))
    assert shown(host, job).waiting_reason is None
    with Hands(host):
        assert ended(host, job) == "done"


def test_benchmark_counts_records(host: Host) -> None:
    """There: throughput was the batch size that was set. Here: every figure counts records that were committed."""
    desk = WorkDesk(host)
    hello(desk, "one")
    job = host.submit(ask(things(100)))
    (task,) = taken(host)
    answer = doubled(task, only=range(3), worker="one")

    host.commit([answer, answer])

    assert len(task.records) == 10
    assert shown(host, job).stages[0].done == 3
    with host.store.reading() as tx:
        assert tx.connection.exec_driver_sql("SELECT sum(records) FROM versions").scalar_one() == 3
    host.commit([doubled(task, worker="one"), answer])
    stage = shown(host, job).stages[0]
    assert (stage.done, stage.rate_per_minute) == (10, 10 * 60 / 300)


def test_a_quiet_worker_is_seen_again_with_its_next_word(host: Host, clock: MovedClock) -> None:
    """There: a service that was once marked dead stayed so. Here: its next heartbeat makes it live."""
    desk = WorkDesk(host)
    hello(desk, "one")
    clock.move(timedelta(hours=1))
    assert seen(host)["one"].state is Liveness.GONE

    desk.heartbeat(Beat(worker_id="one"))

    until(lambda: seen(host)["one"].state is Liveness.LIVE)
