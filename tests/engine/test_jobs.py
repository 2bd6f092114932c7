"""Jobs: how they move, share work, wait their turn, are cancelled and taken over."""

from datetime import timedelta

import pytest

import limner
from limner.domain.jobs import Fate, JobState
from limner.domain.pipelines import Pipeline
from limner.errors import IllegalMove
from tests.engine.lab import Lab, done, record, toy
from tests.engine.stages import split_stage


def pipeline(*, task_size: int = 2) -> Pipeline:
    """Two stages in small tasks."""
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("s", toy("Linear"), reads={"x": "x"}, batch=1, task_size=task_size),
            limner.Stage("t", toy("Linear"), reads={"x": "s.value"}, batch=1, task_size=task_size),
        ],
    )


def test_cancel_keeps_what_is_finished_and_the_next_run_does_the_rest() -> None:
    """Of a cancelled job the finished records stay done, the open ones are cancelled and not lost."""
    lab = Lab(pipeline(), in_flight=1)
    given = [record(str(n), x=n) for n in range(6)]
    job = lab.open(given)
    for _ in range(2):
        lab.step()
        lab.work()
    lab.step()

    counts = lab.cancel(job)
    lab.take()
    lab.drain()
    after = lab.inferred()
    rest = lab.run()

    assert (counts.done, counts.cancelled, counts.open) == (2, 4, 0)
    assert lab.job(job).state is JobState.CANCELLED
    assert lab.counts(job) == counts
    assert rest.state is JobState.DONE
    assert (after["s"] + lab.inferred()["s"], len(lab.values("t"))) == (6, 6)
    assert lab.unsound() == []


def test_cancelled_job_may_be_retried() -> None:
    """What a cancelled job left open is done in its next round."""
    lab = Lab(pipeline())
    job = lab.open([record(str(n), x=n) for n in range(4)])
    lab.cancel(job)

    count = lab.retry(job)
    lab.drain()

    assert count == 4
    assert (lab.job(job).state, lab.counts(job).done) == (JobState.DONE, 4)


def test_ended_job_cannot_be_cancelled() -> None:
    """A job that has ended stays as it ended."""
    lab = Lab(pipeline())
    job = lab.run([record("a", x=1)])

    with pytest.raises(IllegalMove):
        lab.cancel(job.id)


def test_two_jobs_share_their_tasks() -> None:
    """What two jobs want is inferred once, and both count it."""
    lab = Lab(pipeline())
    given = [record(str(n), x=n) for n in range(4)]
    first, second = lab.open(given), lab.open(given)

    lab.drain()

    assert lab.inferred() == {"s": 4, "t": 4}
    assert {lab.job(job).state for job in (first, second)} == {JobState.DONE}
    assert lab.counts(first) == lab.counts(second)


def test_cancelling_one_of_two_jobs_leaves_the_work_to_the_other() -> None:
    """Work that another job waits for goes on in its name."""
    lab = Lab(pipeline())
    first = lab.open([record(str(n), x=n) for n in range(4)])
    second = lab.open([record(str(n), x=n) for n in range(2)])

    lab.cancel(first)
    lab.drain()

    assert lab.counts(second).done == 2
    assert lab.job(second).state is JobState.DONE
    assert lab.fates(first) == dict.fromkeys("0123", Fate.CANCELLED)
    assert lab.inferred() == {"s": 2, "t": 2}


def test_work_is_left_to_a_job_of_another_choice() -> None:
    """A job that chose another implementation downstream waits for the same upstream work."""
    ways = {name: limner.Implementation(infer=toy("Linear"), params={"add": n}) for n, name in enumerate(("a", "b"))}
    stages = [pipeline().stages[0], limner.Stage("t", implementations=ways, reads={"x": "s.value"})]
    lab = Lab(limner.Pipeline("p", collection="things", stages=stages))
    given = [record(str(n), x=n) for n in range(4)]
    first = lab.open(given)
    second = lab.open(given, choices={"t": ["b"]})

    lab.cancel(first)
    lab.drain()

    assert (lab.job(second).state, lab.counts(second).done) == (JobState.DONE, 4)


def test_work_on_children_and_groups_is_left_to_the_other_job() -> None:
    """Tasks over children and groups are handed over by the records that the other job counts."""
    stages = [
        split_stage(),
        limner.Stage("part", toy("Linear"), over="parts", reads={"x": "n"}),
        limner.Stage("all", toy("Gather"), kind="gather", of="parts", by="parent", reads={"given": "part.value"}),
        limner.Stage("last", toy("Total"), reads={"given": "all.all"}),
    ]
    for steps in (1, 2, 3, 4):
        lab = Lab(limner.Pipeline("p", collection="things", stages=stages))
        given = [record("a", parts=["x:1", "y:2"])]
        first, second = lab.open(given), lab.open(given)
        for _ in range(steps):
            lab.work()
            lab.step()

        lab.cancel(first)
        lab.drain()

        assert lab.job(second).state is JobState.DONE
        assert lab.values("last") == {"a": {"value": 3}}
        assert lab.inferred() == {"split": 1, "part": 2, "all": 1, "last": 1}


def test_small_job_is_not_starved_by_a_big_one() -> None:
    """Equally urgent jobs have their turns, however much one of them brings."""
    lab = Lab(pipeline(), in_flight=1)
    big = lab.open([record(f"big{n}", x=n) for n in range(40)])
    small = lab.open([record(f"small{n}", x=n) for n in range(2)])
    rounds = 0
    while not lab.job(small).state.ended:
        lab.step()
        lab.work()
        rounds += 1

    assert rounds < 8
    assert not lab.job(big).state.ended


def test_urgent_job_goes_before_all_others_in_every_stage() -> None:
    """Work of a higher priority is sent first, what follows from it included."""
    lab = Lab(pipeline(), in_flight=1)
    lab.open([record(f"slow{n}", x=n) for n in range(6)])
    urgent = lab.open([record(f"urgent{n}", x=n) for n in range(6)], priority=5)
    order: list[str] = []
    while not lab.job(urgent).state.ended:
        lab.step()
        for task in lab.take():
            order += [f"{task.runtime.address[2]} {identity[:-1]}" for identity in task.records]
            lab.send(done(task, {"value": 1}))

    assert [name for name in order if name.startswith("s")][:6] == ["s urgent"] * 6
    assert "t slow" not in order[: order.index("t urgent")]


def test_unsealed_job_does_not_end() -> None:
    """A job whose records are not all known waits for them, though nothing of it is open."""
    lab = Lab(pipeline())
    job = lab.open([record("a", x=1)], seal=False)
    lab.drain()
    before = lab.job(job).state

    with lab.store.transaction() as tx:
        lab.engine.desk.seal(tx, job, lab.engine.scope(tx, "p", {}))
    lab.drain()

    assert (before, lab.job(job).state) == (JobState.RUNNING, JobState.DONE)


def test_work_in_flight_is_sent_again_after_a_restart() -> None:
    """A new process knows from the store alone what is owed, and the job ends as it would have."""
    lab = Lab(pipeline())
    job = lab.open([record(str(n), x=n) for n in range(6)])
    for _ in range(8):
        lab.step()
        lab.work(limit=1)
        lab.restart()

    lab.drain()

    assert (lab.job(job).state, lab.counts(job).done) == (JobState.DONE, 6)
    assert lab.job(job).inferred == 12


def test_job_ends_with_its_counts_in_its_events() -> None:
    """The events of a job say when it was made, sealed and ended, and with which counts."""
    lab = Lab(pipeline())
    job = lab.open([record("a", x=1)])
    lab.clock.move(timedelta(seconds=3))
    lab.drain()

    with lab.store.reading() as tx:
        events = tx.jobs.events(job)
    assert [event.kind for event in events] == ["created", "running", "sealed", "done"]
    assert events[-1].detail["done"] == 1
    assert lab.job(job).ended == events[-1].at > events[0].at


def test_records_given_twice_are_counted_once() -> None:
    """A record that stands on several pages of a source is one record of the job."""
    lab = Lab(pipeline())

    job = lab.run([record("a", x=1), record("b", x=2), record("a", x=3)], page=1)

    assert lab.counts(job.id).records == 2
    assert lab.values("t")["a"] == {"value": 3}


def test_two_pipelines_over_one_collection_each_keep_their_own() -> None:
    """A record that one pipeline's run takes in is planned for every standing pipeline."""
    other = limner.Pipeline("q", collection="things", stages=[limner.Stage("s", toy("Linear"), reads={"x": "x"})])
    lab = Lab(pipeline(), other)
    lab.run([record("a", x=1)], pipeline="q")

    job = lab.run([record("a", x=1), record("b", x=2)], pipeline="p")

    assert job.state is JobState.DONE
    assert set(lab.values("t", pipeline="p")) == {"a", "b"}
    assert set(lab.values("s", pipeline="q")) == {"a", "b"}
    assert lab.counts("q").done == 2
