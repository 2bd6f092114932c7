"""A worker answers for every record of every task, whatever its inferrers do."""

import time
from datetime import timedelta

import pytest

from limner.domain.failures import FailureCode
from limner.domain.reads import FileRead
from limner.domain.tasks import (
    Answer,
    Heartbeat,
    Status,
)
from limner.domain.values import encode
from tests.worker.cases import runtime, task
from tests.worker.rig import Rig, calls, codes, values


def test_a_task_is_answered(rig: Rig) -> None:
    """Every record has an outcome, in batches of the stage's size, and the message is forgotten."""
    one = task(runtime("moody", batch=8), range(20))
    rig.worker(one.runtime.address)

    outcomes = rig.done(one)

    assert values(outcomes) == {number: 2 * number for number in range(20) if number != 13}
    assert codes(outcomes) == {13: FailureCode.MODEL_ERROR}
    assert [len(call) for call in calls(rig)] == [8, 8, 4]
    assert rig.bus.count(one.runtime.address) == 0


def test_what_did_not_change_is_not_inferred(rig: Rig) -> None:
    """A record whose inputs have the digest of its stored result is answered as unchanged."""
    first = task(runtime("moody"), [1, 2, 3])
    rig.worker(first.runtime.address)
    read = [outcome.read_digest for outcome in rig.done(first).values()]

    outcomes = rig.done(task(runtime("moody"), [1, 5, 3], number=2, prior=read))

    assert [outcome.status for _, outcome in sorted(outcomes.items())] == [
        Status.UNCHANGED,
        Status.DONE,
        Status.UNCHANGED,
    ]
    assert calls(rig)[1:] == [[5]]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (-1, FailureCode.WORKER_LOST),
        (-2, FailureCode.STAGE_TIMEOUT),
        (-3, FailureCode.MODEL_ERROR),
        (-4, FailureCode.OUT_OF_MEMORY),
        (-5, FailureCode.OUTPUT_INVALID),
    ],
)
def test_one_bad_record_spares_its_neighbours(rig: Rig, number: int, code: FailureCode) -> None:
    """Whatever a record does to its batch, it alone fails, alone, and each neighbour is done once."""
    numbers = [*range(1, 6), number, *range(20, 22)]
    one = task(runtime("moody", batch=8, timeout=timedelta(seconds=0.6), memory_mb=300), numbers)
    rig.worker(one.runtime.address)

    outcomes = rig.done(one)

    assert codes(outcomes) == {5: code}
    assert outcomes[5].alone
    assert values(outcomes) == {index: 2 * n for index, n in enumerate(numbers) if n != number}
    went_well = [one for call in calls(rig) if number not in call for one in call]
    assert sorted(went_well) == sorted(n for n in numbers if n != number)


def test_a_lone_record_is_tried_once(rig: Rig) -> None:
    """A task of one record goes straight alone; further attempts are the engine's."""
    one = task(runtime("moody"), [-1])
    rig.worker(one.runtime.address)

    outcomes = rig.done(one)

    assert outcomes[0].alone
    assert len(calls(rig)) == 1


def test_long_work_is_answered_in_parts_and_leases_are_moved(rig: Rig) -> None:
    """Outcomes do not wait for the end of their task, nor for the end of the next batch; heartbeats name the task."""
    one = task(runtime("slow", batch=1), range(8), lease=1.0)
    rig.worker(one.runtime.address)
    rig.send(one)

    heard = rig.hear(lambda message: isinstance(message, Answer) and message.last)

    answers = [message for message in heard if isinstance(message, Answer)]
    assert 2 <= len(answers) <= 4
    assert sum(len(answer.outcomes) for answer in answers) == 8
    assert 2.4 <= sum(answer.seconds for answer in answers) < 20
    beats = [message for message in heard if isinstance(message, Heartbeat)]
    assert len(beats) >= 3
    assert all(beat == Heartbeat(worker="w1", tasks=[1]) for beat in beats)


def test_two_workers_share_a_topic(rig: Rig) -> None:
    """Each task is done by one of them."""
    stage = runtime("slow")
    rig.worker(stage.address, name="w1")
    rig.worker(stage.address, name="w2")
    rig.send(*(task(stage, [1], number=number) for number in range(8)))

    seen: list[int] = []
    while len(seen) < 8:
        heard = rig.hear(lambda message: isinstance(message, Answer))
        seen += [message.task for message in heard if isinstance(message, Answer)]

    assert sorted(seen) == list(range(8))
    assert {message.worker for message in rig.heard if isinstance(message, Answer)} == {"w1", "w2"}


def test_a_task_that_makes_no_sense_is_answered_with_failures(rig: Rig) -> None:
    """Columns of other lengths, missing ones and files that are none fail every record, and the worker goes on."""
    good = task(runtime("double"), [1, 2], number=3)
    rig.worker(good.runtime.address)
    broken = [
        task(runtime("double"), [1, 2], number=1, prior=[b""]),
        task(runtime("double", reads={"other": None}), [1, 2], number=2),
        task(runtime("double", reads={"number": FileRead()}), [1, 2], number=4),
    ]

    for one in broken:
        outcomes = rig.done(one)
        assert set(codes(outcomes).values()) == {FailureCode.MODEL_ERROR}
        assert all(outcome.failure and outcome.failure.reason == "worker error" for outcome in outcomes.values())
    rig.bus.publish(good.runtime.address, [b"\xffnonsense"])
    assert values(rig.done(good)) == {0: 2, 1: 4}


def test_a_task_costs_little(rig: Rig) -> None:
    """512 records of tiny values pass worker and child in a few milliseconds beyond the inferrer."""
    stage = runtime("double", batch=512)
    rig.worker(stage.address)
    rig.done(task(stage, range(512), number=0))
    body = [encode(number) for number in range(512)]

    took = []
    for number in range(1, 16):
        one = task(stage, [], columns={"number": list(body)}, number=number)
        began = time.perf_counter()
        rig.done(one)
        took.append(time.perf_counter() - began)

    # The best of them, since other processes share the machine; the limit is twice what is asked of it.
    assert min(took) < 0.04
