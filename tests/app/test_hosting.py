"""A host with a real store and real threads: jobs go in, answers come, races are run, and every count is exact."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from limner.app.hosting import Host
from limner.app.submitting import CallbackAsk, Key
from limner.clock import MovedClock
from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import JobState
from limner.domain.tasks import ANSWERS, STOPPING, Answer, FromWorker, Heartbeat, Released, Task, encode_message
from limner.engine.receipts import Taken
from limner.errors import IllegalMove, KeyReused, LimnerError, NotFound, UsageError
from tests.app.hosts import (
    Hands,
    ask,
    at_work,
    broken,
    counts_of,
    doubled,
    ended,
    events_of,
    job_of,
    taken,
    things,
    values_of,
)
from tests.waiting import until

BAD = Failure(code=FailureCode.MODEL_ERROR, message="It cannot be doubled.")
GONE = Failure(code=FailureCode.SOURCE_NOT_FOUND, message="It is gone.")
RACES = 200


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """The project `default` at work; nobody serves it but the test."""
    with at_work(tmp_path, settings="in_flight = 8\n") as projects:
        yield projects.host("default")


def together(*calls: Callable[[], object]) -> list[object]:
    """Make the calls at the same moment, each in a thread of its own; what each returned or raised."""
    barrier = threading.Barrier(len(calls))
    said: list[object] = [None] * len(calls)

    def call(at: int) -> None:
        barrier.wait(20)
        try:
            said[at] = calls[at]()
        except Exception as error:  # noqa: BLE001  what it raised is what is asked
            said[at] = error

    threads = [threading.Thread(target=call, args=(at,)) for at in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return said


def waiting_together(host: Host, calls: Sequence[Callable[[], object]]) -> list[object]:
    """Make the calls while the engine is busy, so that all of them wait when it is free."""
    said: list[object] = []
    with host.lock:
        thread = threading.Thread(target=lambda: said.extend(together(*calls)))
        thread.start()
        until(lambda: host.committing.waiting == len(calls))
    thread.join(60)
    return said


def test_a_job_is_stored_when_it_was_submitted_and_ends_when_its_tasks_are_answered(host: Host) -> None:
    """The records that came with it are there at once; each has one value in the end."""
    job = host.submit(ask(things(25), detail={"mine": [1, 2]}))

    assert (job.state, job.sealed, counts_of(host, job).records) == (JobState.RUNNING, True, 25)
    with Hands(host) as hands:
        assert ended(host, job) == "done"

    assert values_of(host, job) == {f"r{n}": {"value": 2 * n} for n in range(25)}
    assert counts_of(host, job).done == 25
    assert job_of(host, job).detail == {"mine": [1, 2]}
    assert Counter(one.state for one in hands.receipts) == {Taken.COMMITTED: 3}


def test_those_who_wait_are_committed_together(host: Host) -> None:
    """Eight answers that wait at the same moment are one transaction, and each is told what became of its own."""
    job = host.submit(ask(things(80)))
    tasks = taken(host, limit=8)
    before = journal(host)

    said = waiting_together(host, [_committing(host, doubled(task)) for task in tasks])

    assert all(isinstance(one, list) and len(one) == 1 for one in said)
    assert [one[0].task for one in said if isinstance(one, list)] == [task.id for task in tasks]
    assert journal(host) - before == 1
    with Hands(host):
        assert ended(host, job) == "done"
    assert counts_of(host, job).done == 80


def journal(host: Host) -> int:
    """How many commits changed results so far."""
    with host.store.reading() as tx:
        rows = tx.connection.exec_driver_sql("SELECT count(*) FROM journal WHERE kind = 'results'")
        return int(rows.scalar_one())


def _committing(host: Host, *messages: FromWorker) -> Callable[[], object]:
    return lambda: host.commit(list(messages))


def test_one_who_says_nonsense_fails_alone(host: Host) -> None:
    """An answer whose columns do not fit is refused in its receipt; those beside it are committed."""
    job = host.submit(ask(things(30)))
    first, second, third = taken(host, limit=3)
    right = doubled(second)
    nonsense = Answer(
        task=right.task,
        attempt=right.attempt,
        worker="hand",
        outcomes=right.outcomes,
        keys=right.keys[:-3],
        asked=right.asked,
        started=0.0,
        seconds=0.0,
    )

    calls = [_committing(host, doubled(first)), _committing(host, nonsense, doubled(third))]
    one, two = waiting_together(host, calls)

    assert isinstance(one, list)
    assert isinstance(two, list)
    assert [receipt.state for receipt in one] == [Taken.COMMITTED]
    assert [receipt.state for receipt in two] == [Taken.REFUSED, Taken.COMMITTED]
    assert "cannot be committed" in two[0].problems[0]
    assert counts_of(host, job).done == 20
    host.app.bus.publish(ANSWERS, [encode_message(nonsense), b"no message", encode_message(right)])
    assert ended(host, job) == "done"


def test_what_is_said_twice_counts_once(host: Host) -> None:
    """A repeated answer is a duplicate, whether it comes in the same call, in the same commit or later."""
    job = host.submit(ask(things(10)))
    (task,) = taken(host)

    half = doubled(task, only=range(5))
    assert [one.state for one in host.commit([half, half])] == [Taken.COMMITTED, Taken.DUPLICATE]
    said = waiting_together(host, [_committing(host, doubled(task)) for _ in range(3)])
    states = Counter(receipt.state for one in said if isinstance(one, list) for receipt in one)
    assert states == {Taken.COMMITTED: 1, Taken.DUPLICATE: 2}
    assert [one.state for one in host.commit([doubled(task)])] == [Taken.DUPLICATE]

    assert ended(host, job) == "done"
    assert (job_of(host, job).inferred, counts_of(host, job).done) == (10, 10)


@pytest.mark.slow
def test_a25_a_late_success_revives_no_cancelled_job(host: Host) -> None:
    """Two hundred times an answer and a cancel come at the same moment: one of them wins, and stays the winner."""
    won: Counter[str] = Counter()
    while won.total() < RACES:
        jobs = [host.submit(ask(things(1, first=won.total() + at))) for at in range(8)]
        tasks: list[Task] = []
        while len(tasks) < len(jobs):
            tasks += taken(host, limit=len(jobs))
        found = {f"r{won.total() + at}": job for at, job in enumerate(jobs)}
        for task in tasks:
            job, answer = found[task.records[0]], doubled(task)

            told, cancelled = together(_committing(host, answer), partial(host.cancel, job.id))

            state = ended(host, job)
            assert isinstance(told, list)
            assert not isinstance(cancelled, Exception) or isinstance(cancelled, IllegalMove)
            before = counts_of(host, job)
            assert (before.open, before.done + before.cancelled) == (0, 1)
            assert state == ("done" if isinstance(cancelled, IllegalMove) else "cancelled")
            (late,) = host.commit([answer])
            assert late.state in (Taken.CANCELLED, Taken.DUPLICATE)
            assert (job_of(host, job).state.value, counts_of(host, job)) == (state, before)
            won[f"{state}, {before.done} done"] += 1

    assert sum(won.values()) == RACES


def test_a_cancelled_job_keeps_what_is_done_and_leaves_shared_work_to_the_other(host: Host) -> None:
    """Half of it done, a job is cancelled: no task of it is handed out any more, another job's records go on."""
    job = host.submit(ask(things(40)))
    other = host.submit(ask(things(10, first=30)))
    for task in taken(host, limit=2):
        host.commit([doubled(task)])

    host.cancel(job.id)
    assert job_of(host, job).state is JobState.CANCELLED
    done = counts_of(host, job)
    with Hands(host):
        assert ended(host, other) == "done"

    assert (done.done, done.cancelled) == (20, 20)
    assert counts_of(host, job) == done
    assert counts_of(host, other).done == 10


def test_cancel_says_why_it_cannot(host: Host) -> None:
    """An unknown job and one that has ended are refused in words."""
    job = host.submit(ask(things(1)))
    with Hands(host):
        ended(host, job)

    with pytest.raises(IllegalMove, match="done cannot become cancelling"):
        host.cancel(job.id)
    with pytest.raises(NotFound, match="no job job-none"):
        host.cancel("job-none")


def test_retry_asks_for_the_codes_that_were_named(host: Host) -> None:
    """Of two kinds of failures one is tried again, in a new round; the other keeps its failure, and its history."""
    job = host.submit(ask(things(10)))
    (task,) = taken(host)
    host.commit([broken(task, BAD, only=[0, 1]), broken(task, GONE, only=[2]), doubled(task, only=range(3, 10))])
    assert ended(host, job) == "done_with_failures"

    assert host.retry(job.id, codes=["MODEL_ERROR"]) == 2
    with pytest.raises(UsageError, match="can be retried once it has ended"):
        host.retry(job.id)
    (again,) = taken(host)
    assert sorted(again.records) == ["r0", "r1"]
    host.commit([doubled(again)])

    assert ended(host, job) == "done_with_failures"
    counts = counts_of(host, job)
    assert (counts.done, counts.failed, job_of(host, job).round) == (9, 1, 2)
    with pytest.raises(UsageError, match="Nothing failed with MODEL_ERROR"):
        host.retry(job.id, codes=["MODEL_ERROR"])
    assert host.retry(job.id) == 1


def test_a_job_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """What was done in time is kept, the rest is not handed out, and a late answer changes nothing."""
    clock = MovedClock()
    with at_work(tmp_path, clock=clock, settings="lease = 3600.0\n") as projects:
        host = projects.host("default")
        job = host.submit(ask(things(20), expires_in=timedelta(seconds=5)))
        first, second = taken(host, limit=2)
        host.commit([doubled(first)])

        clock.move(timedelta(seconds=6))

        assert ended(host, job) == "expired"
        counts = counts_of(host, job)
        assert (counts.done, counts.cancelled, counts.open) == (10, 10, 0)
        assert [one.state for one in host.commit([doubled(second)])] == [Taken.CANCELLED]
        assert counts_of(host, job) == counts


def test_a_key_makes_one_job(host: Host) -> None:
    """The same request with the same key is answered with the same job, at any time; another request is refused."""
    key = Key(key="k1", request=b"digest of the request")
    made = together(*([lambda: host.submit(ask(things(3), key=key)).id] * 6))
    again = host.submit(ask(things(3), key=key))

    assert set(made) == {again.id}
    with pytest.raises(KeyReused, match="'k1' was used for another request"):
        host.submit(ask(things(4), key=Key(key="k1", request=b"another")))
    with host.store.reading() as tx:
        assert tx.jobs.count() == 1
    with Hands(host):
        assert ended(host, again) == "done"
    assert host.submit(ask(things(3), key=key)).id == again.id


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ({"choices": {"halve": ["theirs"]}}, NotFound, "no stage halve; it has: double"),
        ({"choices": {"double": ["ours"]}}, NotFound, "no implementation ours; it has: theirs"),
        ({"choices": {"double": []}}, UsageError, "."),
        ({"callback": CallbackAsk(url="http://10.0.0.1/hook")}, LimnerError, "10.0.0.1"),
        ({"callback": CallbackAsk(url="ftp://example.org/hook")}, LimnerError, "ftp"),
        ({"callback": CallbackAsk(url="http://203.0.113.7/", mode="often")}, UsageError, "end or stream, not often"),
        ({"callback": CallbackAsk(url="http://203.0.113.7/", format="xml")}, UsageError, "no callback format xml"),
        ({"detail": {"manifest": {"reader": "os:system"}}}, UsageError, "may not be named manifest"),
        ({"rows": []}, UsageError, "no records in the request"),
    ],
)
def test_what_is_wrong_is_refused_at_the_door(
    host: Host, what: dict[str, object], error: type[Exception], said: str
) -> None:
    """A sentence says what is wrong, and nothing is stored."""
    given = {"rows": things(1)} | what

    with pytest.raises(error) as refused:
        host.submit(ask(**given))  # type: ignore[arg-type]  # wrong on purpose

    assert said in str(refused.value)
    with host.store.reading() as tx:
        assert tx.jobs.count() == 0


def test_an_unknown_pipeline_names_the_known_ones(host: Host) -> None:
    """Whoever mistypes a name is told which there are."""
    with pytest.raises(NotFound, match="numbers"):
        host.pipeline("words")


def test_the_task_of_a_dead_worker_does_not_wait_for_those_on_the_bus(tmp_path: Path) -> None:
    """A worker that held a task falls silent while others wait to be taken: it is sent again after its lease."""
    clock = MovedClock()
    with at_work(tmp_path, clock=clock, settings="lease = 10.0\nin_flight = 3\n") as projects:
        host = projects.host("default")
        job = host.submit(ask(things(60)))
        (lost,) = taken(host)
        host.commit([Heartbeat(worker="dead", tasks=[lost.id])])

        clock.move(timedelta(seconds=11))
        until(lambda: _open_attempts(host, lost.id) == [])

        # What waits on the bus all the while keeps its lease, and its place before the one that was lost.
        said: list[Task] = []
        while not said or said[-1].records != lost.records:
            said += taken(host)
            assert len(said) < 12
            host.commit([doubled(said[-1])])
        assert said[0].records != lost.records
        with Hands(host):
            assert ended(host, job) == "done"
        assert counts_of(host, job).done == 60


def _open_attempts(host: Host, task: int) -> list[int]:
    with host.store.reading() as tx:
        return [found.attempt for found in tx.tasks.load([task]).values()]


def test_a_release_of_an_earlier_attempt_takes_nothing_away(host: Host) -> None:
    """A message that comes late and twice gives back nothing that somebody else holds by now."""
    job = host.submit(ask(things(10)))
    (task,) = taken(host)
    back = Released(worker="one", task=task.id, attempt=task.attempt, reason=STOPPING)
    host.commit([back])
    (again,) = taken(host)
    assert (again.id, again.attempt) == (task.id, 2)

    host.commit([back])

    assert taken(host, within=timedelta(seconds=0.5)) == []
    host.commit([doubled(again)])
    assert ended(host, job) == "done"


def test_events_tell_what_happened(host: Host) -> None:
    """Made, begun, sealed, ended and tried again, in order, with the counts at the end."""
    job = host.submit(ask(things(2)))
    with Hands(host, say=lambda task: broken(task, BAD)):
        assert ended(host, job) == "failed"
    host.retry(job.id)
    with Hands(host):
        assert ended(host, job) == "done"

    kinds = [kind for kind, _ in events_of(host, job)]
    assert kinds == ["created", "running", "sealed", "failed", "running", "done"]
    assert events_of(host, job)[-1][1]["done"] == 2
