"""Batches that find no memory get smaller for a while, and a process that holds more and more is replaced."""

from datetime import timedelta

from limner.domain.failures import FailureCode
from limner.domain.tasks import Status
from limner.worker.batch_size import KEPT, BatchSize
from tests.worker.cases import runtime, task
from tests.worker.rig import Rig, calls, codes, values

SECOND = timedelta(seconds=1).total_seconds()


def test_out_of_memory_halves_batch(rig: Rig) -> None:
    """A batch that is too large for the memory is done in halves, and the next batches and tasks are small at once."""
    # given an inferrer that needs 50 MB a record, may have 230, and is given batches of 16
    stage = runtime("hungry", batch=16, memory_mb=230)
    rig.worker(stage.address)

    # when two tasks of two batches come
    first = rig.done(task(stage, range(32), number=1))
    second = rig.done(task(stage, range(32), number=2))

    # then every record is done, and memory ran out on the way down from 16 and never again
    assert values(first) == values(second) == {number: number for number in range(32)}
    assert [len(call) for call in calls(rig)] == [16, 8, *[4] * 16]


def test_one_hungry_record_makes_no_batch_smaller(rig: Rig) -> None:
    """Where a record finds no memory alone, it is to blame and not the size: the next task has whole batches."""
    stage = runtime("moody", batch=8, memory_mb=300)
    rig.worker(stage.address)

    first = rig.done(task(stage, [1, 2, 3, -4, 5, 6, 7, 8], number=1))
    before = len(calls(rig))
    rig.done(task(stage, range(20, 36), number=2))

    assert codes(first) == {3: FailureCode.OUT_OF_MEMORY}
    assert [len(call) for call in calls(rig)[before:]] == [8, 8]


def test_a_smaller_size_is_kept_for_ten_minutes() -> None:
    """After that the declared size is tried again."""
    now = [1000.0]
    size = BatchSize(now=lambda: now[0])
    assert size.most() is None

    size.too_many(64)
    size.too_many(32)
    assert size.most() == 16
    now[0] += timedelta(minutes=9, seconds=59).total_seconds()
    assert size.most() == 16
    now[0] += SECOND
    assert size.most() is None
    assert timedelta(minutes=10) == KEPT


def test_memory_growth_recycles_worker(rig: Rig) -> None:
    """A process that keeps 20 MB of each call is replaced once it kept more than 50, and no record notices."""
    stage = runtime("leaking", batch=1)
    rig.worker(stage.address, max_growth=50_000_000)

    outcomes = rig.done(task(stage, range(9)))

    assert codes(outcomes) == {}
    pids = [pid for _, pid in sorted(values(outcomes).items())]
    runs = [pids.count(pid) for pid in dict.fromkeys(pids)]
    assert len(runs) >= 2
    assert all(3 <= run <= 4 for run in runs[:-1]), "the first call is the start, three more are too many"


def test_a_stage_with_little_memory_is_recycled_sooner(rig: Rig) -> None:
    """Three quarters of what a stage may use is as much as its process may grow by."""
    stage = runtime("leaking", batch=1, memory_mb=260)
    rig.worker(stage.address)

    outcomes = rig.done(task(stage, range(16)))

    assert codes(outcomes) == {}
    assert len(set(values(outcomes).values())) == 2


def test_a_record_is_not_blamed_for_what_others_left(rig: Rig) -> None:
    """A record that finds no memory in a process that did other work is tried once more in a new one."""
    # given a process that is replaced only when it has grown by 52 MB, while a call needs 20 of the 30 that remain
    stage = runtime("leaking", batch=1, memory_mb=70)
    rig.worker(stage.address)

    outcomes = rig.done(task(stage, range(8)))

    assert all(outcome.status is Status.DONE for outcome in outcomes.values())
    assert len(set(values(outcomes).values())) >= 2
