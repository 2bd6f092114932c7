"""Defects of the original's queue (antenna §5): lost, stuck, starved and forgotten tasks."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from limner.app.hosting import Host
from limner.app.submitting import Manifest, lines_of
from limner.clock import MovedClock
from limner.domain.jobs import Job, JobState
from limner.domain.tasks import STOPPING, Heartbeat, Released, Task
from limner.engine.receipts import Taken
from limner.errors import StoreUnavailable
from tests.app.hosts import Hands, ask, at_work, counts_of, doubled, ended, job_of, sealed, taken, things, values_of
from tests.waiting import until

MINUTE = timedelta(minutes=1)
SOON = timedelta(seconds=0.3)


@pytest.fixture
def clock() -> MovedClock:
    """A clock that moves when it is told."""
    return MovedClock()


@pytest.fixture
def host(tmp_path: Path, clock: MovedClock) -> Iterator[Host]:
    """A project at work whose leases are a minute by that clock; nobody serves it but the test."""
    with at_work(tmp_path, clock=clock, settings="lease = 60.0\nin_flight = 8\n") as projects:
        yield projects.host("default")


def tasks_of(host: Host, count: int) -> list[Task]:
    """Just so many tasks, as workers take them."""
    found: list[Task] = []
    while len(found) < count:
        more = taken(host, limit=count - len(found))
        assert more, f"only {len(found)} of {count} tasks came"
        found += more
    return found


def exact(host: Host, job: Job, count: int) -> None:
    """Every record is done once, with its own value."""
    assert values_of(host, job) == {f"r{n}": {"value": 2 * n} for n in range(count)}
    counts = counts_of(host, job)
    assert (counts.records, counts.done, job_of(host, job).inferred) == (count, count, count)


def test_unanswered_task_ends_as_failed(host: Host, clock: MovedClock) -> None:
    """There: messages died after two deliveries, and a job ran for ever at 168 of 925. Here: every item ends, named."""
    job = host.submit(ask(things(9)))
    while not job_of(host, job).state.ended:
        for task in taken(host, limit=8, within=SOON):
            if task.records != ["r3"] and len(task.records) == 1:
                host.commit([doubled(task)])
        clock.move(MINUTE * 2)

    counts = counts_of(host, job)
    assert (counts.done, counts.failed, counts.open) == (8, 1, 0)
    assert {row.id: row.code for row in host.app.failures(job.id)} == {"r3": "ATTEMPTS_EXHAUSTED"}


def test_crash_between_acknowledge_and_progress(host: Host) -> None:
    """There: results were stored, progress was not, the item hung. Here: one transaction, or nothing and once more."""
    job = host.submit(ask(things(10)))
    (task,) = tasks_of(host, 1)
    with host.store.transaction() as tx:
        tx.connection.exec_driver_sql(
            "CREATE TRIGGER crash BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'as if it crashed'); END"
        )

    with pytest.raises(StoreUnavailable, match="as if it crashed"):
        host.commit([doubled(task)])

    assert values_of(host, job) == {}
    assert (counts_of(host, job).done, job_of(host, job).inferred) == (0, 0)
    with host.store.transaction() as tx:
        tx.connection.exec_driver_sql("DROP TRIGGER crash")
    assert [one.state for one in host.commit([doubled(task)])] == [Taken.COMMITTED]
    assert ended(host, job) == "done"
    exact(host, job, 10)


def test_last_batch_of_long_job_kept(host: Host, clock: MovedClock) -> None:
    """There: past five minutes the last batch of a job was lost. Here: its answer counts, however late it comes."""
    job = host.submit(ask(things(30)))
    first, second, last = tasks_of(host, 3)
    host.commit([doubled(first), doubled(second)])
    clock.move(MINUTE * 30)
    until(lambda: _attempts(host, last) == [])

    assert [one.state for one in host.commit([doubled(last)])] == [Taken.LATE]

    assert ended(host, job) == "done"
    exact(host, job, 30)


def _attempts(host: Host, task: Task) -> list[int]:
    with host.store.reading() as tx:
        return [one.attempt for one in tx.tasks.load([task.id]).values()]


def test_slow_start_not_reaped(host: Host, clock: MovedClock) -> None:
    """There: jobs that waited, or read 147k images for 19 minutes, were killed. Here: none is."""
    waits = host.submit(ask(things(5, first=100)))
    with host.lock:
        rows = host.app.artifacts.put(b"".join(lines_of(things(30))))
        prepares = host.submit(ask(manifest=Manifest(sha256=rows)))
        for _ in range(40):
            clock.move(MINUTE * 5)
            host.engine.turn([])
        assert not job_of(host, prepares).sealed
        assert {job_of(host, job).state for job in (waits, prepares)} == {JobState.RUNNING}
    sealed(host, prepares)
    with Hands(host):
        assert (ended(host, waits), ended(host, prepares)) == ("done", "done")

    exact(host, prepares, 30)


def test_transient_store_error_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There: one dropped connection failed the job. Here: the engine waits, says so, and goes on."""
    monkeypatch.setattr("limner.store.dialect._PATIENCE", 20)
    with at_work(tmp_path) as projects:
        host = projects.host("default")
        job = host.submit(ask(things(30)))
        (task,) = tasks_of(host, 1)
        with capture_logs() as logs, host.store._engine.connect() as other:
            other.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                host.commit([doubled(task)])
            until(lambda: [line for line in logs if line["event"] == "engine_waits"])
            other.exec_driver_sql("ROLLBACK")
        host.commit([doubled(task)])
        with Hands(host):
            assert ended(host, job) == "done"
        exact(host, job, 30)


def test_event_log_takes_no_job_lock(host: Host) -> None:
    """There: eight workers that wrote events made 0.3 results a second. Here: who reads them holds up no commit."""
    job = host.submit(ask(things(200)))
    with host.store.reading() as tx:
        before = [event.kind for event in tx.jobs.events(job.id)]
        with Hands(host), Hands(host), Hands(host), Hands(host):
            assert ended(host, job) == "done"
        # The reader sees its own moment still: nobody waited for it, and it waited for nobody.
        assert [event.kind for event in tx.jobs.events(job.id)] == before
        assert tx.ledger.counts(job.id).open == 200

    exact(host, job, 200)


def test_small_job_not_starved(host: Host) -> None:
    """There: one job flooded the only queue. Here: ten records behind 2,000 are done while most of those wait."""
    large = host.submit(ask(things(2000)))
    small = host.submit(ask(things(10, first=5000)))

    with Hands(host):
        assert ended(host, small) == "done"
        assert counts_of(host, large).open > 1500
    host.cancel(large.id)


def test_workers_spread_over_jobs(host: Host) -> None:
    """There: a "list" of jobs was a pop, and all workers took the same one. Here: four workers are given four jobs."""
    with host.lock:
        for at in range(4):
            host.submit(ask(things(50, first=100 * at)))

    found = tasks_of(host, 4)

    assert sorted(int(task.records[0][1:]) // 100 for task in found) == [0, 1, 2, 3]


def test_job_of_eight_days(host: Host, clock: MovedClock) -> None:
    """There: what waited for more than 24 hours was dropped. Here: a job of a task a day is whole after eight days."""
    job = host.submit(ask(things(80)))
    for _ in range(8):
        (task,) = tasks_of(host, 1)
        host.commit([doubled(task)])
        for _ in range(6):
            clock.move(timedelta(hours=4))
            host.engine.turn(host.engine.waiting())

    assert ended(host, job) == "done"
    exact(host, job, 80)


def test_lease_renewed_while_queued(host: Host, clock: MovedClock) -> None:
    """There: what waited in a worker's queue was delivered again. Here: neither that nor what is held."""
    job = host.submit(ask(things(80)))
    (held,) = tasks_of(host, 1)
    for _ in range(10):
        host.commit([Heartbeat(worker="hand", tasks=[held.id])])
        clock.move(timedelta(seconds=45))

    assert _attempts(host, held) == [1]
    waiting = tasks_of(host, 7)
    assert {task.attempt for task in waiting} == {1}
    assert len({task.id for task in [held, *waiting]}) == 8
    host.commit([doubled(task) for task in [held, *waiting]])
    assert ended(host, job) == "done"


def test_sigterm_drains(host: Host) -> None:
    """There: promised, not coded. Here: what is given back is ready at once and charged to nobody."""
    job = host.submit(ask(things(10)))
    (task,) = tasks_of(host, 1)
    host.commit([doubled(task, only=range(3))])

    host.commit([Released(worker="hand", task=task.id, attempt=task.attempt, reason=STOPPING)])
    (again,) = taken(host, within=timedelta(seconds=2))

    assert again.records == task.records[3:]
    host.commit([doubled(again)])
    assert ended(host, job) == "done"
    exact(host, job, 10)
    with host.store.reading() as tx:
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar_one() == 0


def test_many_takers_share_no_task(host: Host) -> None:
    """There: two workers were given one batch. Here: whatever the number of takers, each task is handed out once."""
    job = host.submit(ask(things(400)))
    found: list[int] = []
    lock = threading.Lock()

    def take() -> None:
        while tasks := taken(host, within=SOON):
            with lock:
                found.extend(task.id for task in tasks)
            host.commit([doubled(task) for task in tasks])

    takers = [threading.Thread(target=take) for _ in range(12)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join(60)

    assert len(found) == len(set(found)) == 40
    assert ended(host, job) == "done"
