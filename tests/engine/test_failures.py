"""What fails: how often it is tried again, what is said of it, and how it is mended."""

from datetime import timedelta
from pathlib import Path

import pytest

import limner
from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import Fate, JobState
from limner.domain.pipelines import Pipeline
from limner.domain.records import SetAside
from limner.domain.retry import RetryPolicy
from limner.domain.tasks import STOPPING, Heartbeat, Outcome, Released, Status, Task
from limner.errors import UsageError
from tests.engine.lab import Lab, answer, done, failed, record, toy
from tests.engine.stages import split_stage

GONE = Failure(code=FailureCode.SOURCE_UNAVAILABLE, message="The server is gone.")
LOST = Failure(code=FailureCode.WORKER_LOST, message="The process died.")
SECOND = timedelta(seconds=1)


def pipeline(*, retry: RetryPolicy | None = None, task_size: int = 8) -> Pipeline:
    """One stage."""
    stage = limner.Stage("s", toy("Linear"), reads={"x": "x"}, batch=8, task_size=task_size, retry=retry)
    return limner.Pipeline("p", collection="things", stages=[stage])


def sent(lab: Lab) -> list[Task]:
    """What the engine sends now."""
    lab.step()
    return lab.take()


def started(count: int, **options: object) -> tuple[Lab, str]:
    """A lab with a job over some records."""
    lab = Lab(pipeline(**options))  # type: ignore[arg-type]  # handed on
    return lab, lab.open([record(str(n), x=n) for n in range(count)])


def test_passing_failure_is_tried_again_after_a_growing_wait() -> None:
    """A code that the policy names is tried again, each time after twice the wait, and is final in the end."""
    lab, job = started(1)
    waits = []
    for _ in range(4):
        (task,) = sent(lab)
        lab.send(failed(task, GONE))
        lab.step()
        waited = 0.0
        while waited < 10 and not (again := sent(lab)):
            lab.clock.move(SECOND / 4)
            waited += 0.25
        waits.append(waited)
        if waited < 10:
            with lab.store.transaction() as tx:
                tx.tasks.unsend([task.id for task in again])

    assert waits[:3] == [0.5, 1.0, 2.0]
    assert lab.values("s") == {"0": ("failed", "SOURCE_UNAVAILABLE", None)}
    assert lab.job(job).state is JobState.FAILED
    assert lab.results("s")["0"].tried == 4


def test_every_attempt_is_logged() -> None:
    """The history says of each attempt which worker failed it, why, and which one was the last."""
    lab, job = started(1, retry=RetryPolicy(attempts={FailureCode.SOURCE_UNAVAILABLE: 2}))
    for _ in range(2):
        (task,) = sent(lab)
        lab.send(failed(task, GONE))
        lab.step()
        lab.clock.move(SECOND)

    log = lab.attempts("s", "0")
    assert [(a.tried, a.final, a.worker, a.job, a.failure.code) for a in log] == [
        (1, False, "by hand", job, FailureCode.SOURCE_UNAVAILABLE),
        (2, True, "by hand", job, FailureCode.SOURCE_UNAVAILABLE),
    ]


def test_server_that_asks_for_a_wait_is_given_it() -> None:
    """``Retry-After`` lengthens the wait, up to the longest that the policy allows."""
    lab, _ = started(1, retry=RetryPolicy(longest=timedelta(seconds=30)))
    for asked, waited in ((20.0, 20), (3600.0, 30)):
        (task,) = sent(lab)
        lab.send(failed(task, Failure(code=FailureCode.SOURCE_UNAVAILABLE, message="Later.", retry_after=asked)))
        lab.step()
        lab.clock.move(SECOND * (waited - 1))
        early = sent(lab)
        lab.clock.move(SECOND)

        assert early == []
    assert len(sent(lab)) == 1


def test_code_without_a_policy_is_final_at_once() -> None:
    """What an inferrer says of its input is not asked a second time."""
    lab, job = started(1)
    (task,) = sent(lab)

    lab.send(failed(task, Failure(code=FailureCode.INPUT_INVALID, message="Not a picture.", reason="gif")))
    lab.drain()

    assert lab.values("s") == {"0": ("failed", "INPUT_INVALID", "gif")}
    assert lab.job(job).state is JobState.FAILED


def test_one_bad_record_never_fails_its_neighbours() -> None:
    """Of a task's records one is tried again, one fails, one is skipped and the others are done."""
    lab, job = started(4)
    (task,) = sent(lab)
    good = done(task).outcomes
    lab.send(
        answer(
            task,
            [
                good[0],
                Outcome(1, Status.FAILED, failure=GONE),
                Outcome(2, Status.FAILED, failure=Failure(code=FailureCode.MODEL_ERROR, message="No.")),
                good[3],
            ],
        )
    )
    lab.step()
    between = lab.fates(job)
    lab.clock.move(SECOND)
    lab.drain()

    assert between == {"0": Fate.DONE, "1": Fate.OPEN, "2": Fate.FAILED, "3": Fate.DONE}
    assert lab.fates(job) == {"0": Fate.DONE, "1": Fate.DONE, "2": Fate.FAILED, "3": Fate.DONE}


def test_answer_in_parts_is_taken_as_it_comes() -> None:
    """A partial answer counts at once; what a last one leaves out is sent again."""
    lab, job = started(3)
    (task,) = sent(lab)
    outcomes = done(task).outcomes
    lab.send(answer(task, outcomes[:1], last=False))
    lab.step()
    nothing = lab.take()
    lab.send(answer(task, outcomes[1:2]))
    (again,) = sent(lab)

    assert (nothing, again.records, again.attempt) == ([], ["2"], 2)
    assert lab.counts(job).done == 2


def test_record_that_killed_its_process_alone_goes_on_alone() -> None:
    """Records charged for a lost process share no task on their next try, and end as exhausted."""
    lab, job = started(2)
    (task,) = sent(lab)
    lab.send(failed(task, LOST, alone=True))
    lab.step()
    lab.clock.move(SECOND)
    again = sent(lab)
    for one in again:
        lab.send(failed(one, LOST, alone=True))
    lab.drain()

    assert [one.records for one in again] == [["0"], ["1"]]
    assert set(lab.values("s").values()) == {("failed", "ATTEMPTS_EXHAUSTED", "worker lost")}
    assert lab.counts(job).failed == 2


@pytest.mark.parametrize("code", [FailureCode.STAGE_TIMEOUT, FailureCode.OUT_OF_MEMORY])
def test_other_deaths_keep_their_code(code: FailureCode) -> None:
    """What took too long or too much memory as often as allowed ends with that code."""
    lab, _ = started(1)
    for _ in range(2):
        (task,) = sent(lab)
        lab.send(failed(task, Failure(code=code, message="Too much."), alone=True))
        lab.step()
        lab.clock.move(SECOND)

    assert lab.values("s") == {"0": ("failed", code.value, None)}


def test_silent_worker_loses_its_task_whole_then_in_halves_then_alone() -> None:
    """A lost task is sent whole once, then halved down to single records, which alone are charged."""
    lab, job = started(4)
    sizes = []
    for _ in range(30):
        tasks = sent(lab)
        good = [task for task in tasks if task.records != ["0"] and len(task.records) == 1]
        for task in good:
            lab.send(done(task))
        if tasks:
            sizes.append(sorted(len(task.records) for task in tasks))
        lab.lapse()
        if lab.job(job).state.ended:
            break

    assert sizes[:4] == [[4], [4], [2, 2], [1, 1, 1, 1]]
    assert lab.fates(job) == {"0": Fate.FAILED, "1": Fate.DONE, "2": Fate.DONE, "3": Fate.DONE}
    assert lab.values("s")["0"] == ("failed", "ATTEMPTS_EXHAUSTED", "worker lost")
    assert lab.results("s")["0"].tried == 2


def test_late_answer_of_a_lost_worker_counts_and_its_successors_does_not() -> None:
    """A worker that was taken for lost and answers after all is heard: an answer of any attempt counts, once."""
    lab, job = started(2)
    (task,) = sent(lab)
    lab.lapse()
    (again,) = sent(lab)

    lab.send(done(task, 7))
    lab.send(done(again, 8))
    lab.drain()

    assert lab.values("s") == {"0": 7, "1": 7}
    assert lab.job(job).inferred == 2


def test_heartbeat_keeps_a_task() -> None:
    """A worker that says it holds a task keeps it beyond the lease."""
    lab, _ = started(2)
    (task,) = sent(lab)
    for _ in range(5):
        lab.clock.move(SECOND * 40)
        lab.send(Heartbeat(worker="w", tasks=[task.id]))
        lab.step()

    assert lab.take() == []
    with lab.store.reading() as tx:
        assert [(t.pk, t.worker) for t in tx.tasks.open_of()] == [(task.id, "w")]


def test_task_that_waits_on_the_bus_is_not_lost() -> None:
    """A lease that runs out while nobody took the task is moved; nothing is sent twice."""
    lab, _ = started(2)
    lab.step()
    for _ in range(4):
        lab.lapse()
        lab.step()

    assert len(lab.take()) == 1


def test_worker_that_stops_gives_its_tasks_back() -> None:
    """What a stopping worker releases is sent again at once, and charged to nobody."""
    lab, _ = started(2)
    (task,) = sent(lab)
    lab.send(Released(worker="w", task=task.id, attempt=1, reason=STOPPING))

    (again,) = sent(lab)

    assert (again.id, again.attempt, again.records) == (task.id, 2, task.records)


def test_worker_that_cannot_load_the_inferrer_fails_its_records() -> None:
    """A task that cannot be run at all fails with the reason, and a retry of the job asks again."""
    lab, job = started(2, retry=RetryPolicy(attempts={}))
    (task,) = sent(lab)
    lab.send(Released(worker="w", task=task.id, attempt=1, reason="No module named torch."))
    lab.drain()
    said = lab.results("s")["0"].failure
    lab.retry(job)
    lab.drain()

    assert said is not None
    assert (said.code, said.reason) == (FailureCode.MODEL_UNAVAILABLE, "not loaded")
    assert "torch" in said.message
    assert lab.values("s") == {"0": {"value": 0}, "1": {"value": 1}}
    assert lab.job(job).state is JobState.DONE


def two_stages(broken: Path) -> Pipeline:
    """A stage that fails while a file says so, and one that reads it."""
    return limner.Pipeline(
        "p",
        collection="things",
        stages=[
            limner.Stage("s", toy("Moody"), reads={"x": "x"}, params={"broken": str(broken)}),
            limner.Stage("t", toy("Linear"), reads={"x": "s.value"}),
        ],
    )


def test_retry_opens_a_round_and_keeps_the_history(tmp_path: Path) -> None:
    """A retry asks again what failed, with all that waited for it, and the failed attempts stay on record."""
    broken = tmp_path / "broken"
    broken.write_text("1 2")
    lab = Lab(two_stages(broken))
    job = lab.run([record(str(n), x=n) for n in range(4)])
    broken.write_text("2")
    lab.inferred()

    count = lab.retry(job.id)
    lab.drain()

    after = lab.job(job.id)
    assert (count, after.round, after.state) == (2, 2, JobState.DONE_WITH_FAILURES)
    assert lab.fates(job.id) == {"0": Fate.DONE, "1": Fate.DONE, "2": Fate.FAILED, "3": Fate.DONE}
    assert lab.values("t")["1"] == {"value": 1}
    assert lab.inferred() == {"s": 2, "t": 1}
    with lab.store.reading() as tx:
        assert [event.kind for event in tx.jobs.events(job.id)].count("running") == 2
    assert len(lab.attempts("s", "2")) == 2
    assert lab.counts("p").failed == 1
    assert lab.unsound() == []


def test_failed_group_is_tried_again_with_its_job(tmp_path: Path) -> None:
    """A gather that failed for a record of the job is asked again by a retry of what failed there."""
    broken = tmp_path / "broken"
    broken.write_text("1")
    stages = [
        *two_stages(broken).stages,
        split_stage(),
        limner.Stage(
            "all", toy("Gather"), kind="gather", of="parts", by="parent", missing="fail", reads={"given": "part.value"}
        ),
    ]
    part = limner.Stage("part", toy("Moody"), over="parts", reads={"x": "n"}, params={"broken": str(broken)})
    lab = Lab(limner.Pipeline("p", collection="things", stages=[*stages[:3], part, stages[3]]))
    job = lab.run([record("a", x=3, parts=["x:1"])])
    before = lab.values("all")
    broken.write_text("")

    lab.retry(job.id)
    lab.drain()

    assert before == {"a": ("failed", "UPSTREAM_FAILED", "part")}
    assert lab.values("all") == {"a": {"all": [1]}}
    assert lab.job(job.id).state is JobState.DONE


def test_retry_with_nothing_to_do_is_refused() -> None:
    """A job without failures has nothing to retry, and one that works cannot be."""
    lab, working = started(1)
    with pytest.raises(UsageError, match="once it has ended"):
        lab.retry(working)
    lab.drain()

    with pytest.raises(UsageError, match="Nothing failed"):
        lab.retry(working)


def test_failed_records_stay_failed_in_the_next_run(tmp_path: Path) -> None:
    """A final failure is a result like another: a new run repeats it without asking again."""
    broken = tmp_path / "broken"
    broken.write_text("1")
    lab = Lab(two_stages(broken))
    lab.run([record("a", x=1)])
    lab.inferred()

    job = lab.run([record("a", x=1)])

    assert (lab.inferred(), job.state) == ({}, JobState.FAILED)


def test_rows_set_aside_are_counted_with_their_reasons() -> None:
    """A source row that is no record is kept beside the job: which row, why, and how it began."""
    lab = Lab(pipeline())

    job = lab.run([record("a", x=1), SetAside(row=2, reason="The row has no id.", excerpt="x" * 900)])

    with lab.store.reading() as tx:
        rows = tx.jobs.rows_aside(job.id)
    assert (job.set_aside, lab.counts(job.id).records) == (1, 1)
    assert rows == [("2", "INPUT_INVALID", "The row has no id.", "x" * 500)]
