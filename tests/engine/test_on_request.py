"""Groups and families of a pipeline on request: nobody waits for what no job asked for."""

from datetime import timedelta

import limner
from limner.domain.jobs import Counts, JobState
from limner.domain.pipelines import Pipeline
from limner.domain.records import RecordIn
from limner.domain.tasks import Answer, Outcome, Status
from limner.domain.values import encode, value_digest
from limner.engine.receipts import Taken
from tests.engine.lab import Lab, record, toy
from tests.engine.stages import split_stage


def pipeline() -> Pipeline:
    """Things with parts; the parts of a thing, and the things of a day, are gathered."""
    splits = {
        "all": limner.Implementation(infer=toy("Split")),
        "some": limner.Implementation(infer=toy("Split"), params={"only": "x"}),
    }
    weighs = {
        name: limner.Implementation(infer=toy("Linear"), params={"add": add}) for name, add in (("one", 1), ("two", 2))
    }
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            split_stage(None, implementations=splits),
            limner.Stage("weigh", over="parts", implementations=weighs, reads={"n": "n"}),
            limner.Stage(
                "thing",
                toy("Gather"),
                kind="gather",
                of="parts",
                by="parent",
                order="name",
                reads={"given": "weigh.value"},
            ),
            limner.Stage(
                "day",
                toy("Gather"),
                kind="gather",
                over="days",
                of="things",
                by="day",
                order="place",
                reads={"given": limner.optional("thing")},
            ),
        ],
        standing=False,
    )


def things(*numbers: int) -> list[RecordIn]:
    """Things of one day, each with one part."""
    return [record(f"t{n}", day="monday", place=n, parts=[f"x:{n}"]) for n in numbers]


def test_second_job_asks_for_a_new_way_over_children_that_stand() -> None:
    """Children that an earlier job made are planned for what only the new job wants of them."""
    lab = Lab(pipeline())
    lab.run(things(1, 2))
    lab.inferred()

    job = lab.run(things(1, 2), choices={"weigh": ["two"]})

    assert lab.inferred()["weigh/two"] == 2
    assert "split/all" not in lab.inferred()
    assert job.state is JobState.DONE
    said = lab.values("weigh", choices={"weigh": ["two"]}, collection="parts").values()
    assert sorted(one["value"] for one in said) == [3, 4]


def test_group_over_records_runs_once_when_all_of_the_job_are_known() -> None:
    """A day is not gathered before the job's last record is in, though those that are in have ended."""
    lab = Lab(pipeline())
    job = lab.open(things(1, 2), seal=False)
    lab.drain()
    early = lab.inferred().get("day", 0)
    with lab.store.transaction() as tx:
        lab.engine.desk.seal(tx, job, lab.engine.scope(tx, "p", {}))
    lab.drain()

    assert (early, lab.inferred()["day"], lab.job(job).state) == (0, 1, JobState.DONE)


def test_group_does_not_wait_for_what_no_job_holds() -> None:
    """A thing that an earlier job had split in another way is absent here, and nobody works on it."""
    lab = Lab(pipeline())
    lab.run(things(1), choices={"split": ["some"]})

    job = lab.run(things(2))

    assert job.state is JobState.DONE
    assert len(lab.values("day", collection="days")["monday"]["all"]) == 1


def test_job_expires_with_what_it_has() -> None:
    """A job whose time is over keeps what was done; the rest is cancelled, and late answers change nothing."""
    lab = Lab(pipeline(), in_flight=1)
    job = lab.open(things(1, 2, 3), expires_in=timedelta(seconds=5))
    lab.step()

    lab.clock.move(timedelta(seconds=6))
    lab.step()
    lab.drain()

    assert lab.job(job).state is JobState.EXPIRED
    assert lab.counts(job) == Counts(records=3, cancelled=3)


def test_job_fails_past_its_threshold() -> None:
    """More failures than were allowed end the job; what is open is not worked on any more."""
    lab = Lab(
        limner.Pipeline(
            "q",
            collection="things",
            stages=[limner.Stage("s", toy("Picky"), reads={"x": "x"}, params={"least": 3}, batch=1, task_size=1)],
        ),
        in_flight=1,
    )
    job = lab.open([record(str(n), x=9 - n) for n in range(10)], fail_threshold=0.2)

    lab.drain()

    counts = lab.counts(job)
    assert lab.job(job).state is JobState.FAILED
    assert (counts.failed, counts.open, counts.records) == (3, 0, 10)
    assert counts.cancelled > 0


def test_answer_to_a_replaced_task_counts_for_whoever_holds_its_records_now() -> None:
    """A worker taken for lost answers after all: late, and accepted; the answer of its successor is a repetition."""
    lab = Lab(limner.Pipeline("q", collection="things", stages=[limner.Stage("s", toy("Linear"), reads={"x": "x"})]))
    job = lab.open([record("a", x=1)])
    lab.step()
    (task,) = lab.take()
    lab.lapse()
    lab.step()
    value = encode({"value": 1})
    said = Answer(
        task=task.id,
        attempt=task.attempt,
        worker="slow",
        outcomes=[Outcome(0, Status.DONE, value=value, value_digest=value_digest(value), read_digest=b"r")],
        keys=task.keys,
        asked=task.asked,
        started=0.0,
        seconds=0.1,
    )

    first = lab.engine.answer([said])
    again = lab.engine.answer([said])

    assert [one.state for one in (*first, *again)] == [Taken.LATE, Taken.DUPLICATE]
    assert lab.job(job).state is JobState.DONE
    assert lab.values("s") == {"a": {"value": 1}}


def test_answer_to_an_unknown_task_is_refused_and_one_to_a_cancelled_job_is_told_so() -> None:
    """Receipts say what became of each answer."""
    lab = Lab(limner.Pipeline("q", collection="things", stages=[limner.Stage("s", toy("Linear"), reads={"x": "x"})]))
    job = lab.open([record("a", x=1)])
    lab.step()
    (task,) = lab.take()
    lab.cancel(job)
    said = Answer(
        task=task.id,
        attempt=1,
        worker="w",
        outcomes=[Outcome(0, Status.DONE, value=encode({}), value_digest=b"v", read_digest=b"r")],
        keys=task.keys,
        asked=task.asked,
        started=0.0,
        seconds=0.1,
    )
    stranger = Answer(task=999, attempt=1, worker="w", outcomes=[], keys=[], asked=[], started=0.0, seconds=0.0)

    receipts = lab.engine.answer([said, stranger])

    assert [one.state for one in receipts] == [Taken.CANCELLED, Taken.REFUSED]
    assert receipts[1].problems == ["There is no such task here."]
    assert lab.values("s") == {}
