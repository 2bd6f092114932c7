"""A worker starts, keeps and replaces the processes that its inferrers need."""

import os
from pathlib import Path

import pytest

from limner.domain.failures import FailureCode
from limner.domain.tasks import (
    Answer,
    ModelRef,
    Released,
)
from tests.worker.cases import runtime, task
from tests.worker.rig import Rig, codes, values


def model(rig: Rig, data: bytes) -> ModelRef:
    """A model that was added with these bytes."""
    return ModelRef(name="codes", number=1, sha256=rig.artifacts.put(data), filename="codes.npz")


def test_one_child_serves_task_after_task_until_the_version_changes(rig: Rig) -> None:
    """The process stays for tasks of one version, and another version gets another one."""
    stage = runtime("pid")
    rig.worker(stage.address)

    first = values(rig.done(task(stage, [1], number=1)))[0]
    same = values(rig.done(task(stage, [1], number=2)))[0]
    other = values(rig.done(task(stage, [1], number=3, version="bb")))[0]

    assert first == same != other
    assert not Path(f"/proc/{first}").exists()


def test_more_children_are_started_only_while_there_is_a_backlog(rig: Rig) -> None:
    """With room for three, one task at a time uses one child; six at once use three."""
    stage = runtime("slow", batch=4)
    worker = rig.worker(stage.address, parallel=3)
    for number in range(3):
        rig.done(task(stage, [1], number=number))
    assert worker.slots(stage.address) == 1

    tasks = [task(stage, [1, 2], number=number) for number in range(10, 16)]
    rig.send(*tasks)
    ends: set[int] = set()
    while len(ends) < len(tasks):
        heard = rig.hear(lambda message: isinstance(message, Answer) and message.last)
        ends |= {message.task for message in heard if isinstance(message, Answer)}

    assert worker.slots(stage.address) == 3


def test_a_model_is_loaded_by_its_digest(rig: Rig) -> None:
    """The inferrer is given a file with the model's bytes and its own name's ending."""
    one = task(runtime("Loaded", model=model(rig, b"centres")), [1])
    rig.worker(one.runtime.address)

    assert values(rig.done(one)) == {0: "centres.npz"}


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_model_that_is_not_what_was_added_is_never_used(rig: Rig, harm: str) -> None:
    """A missing file and a changed byte fail every record, and say why."""
    ref = model(rig, b"centres")
    if harm == "missing":
        rig.artifacts.delete(ref.sha256)
    else:
        rig.artifacts.path(ref.sha256).write_bytes(b"centers")
    one = task(runtime("Loaded", model=ref), [1, 2])
    rig.worker(one.runtime.address)

    outcomes = rig.done(one)

    assert set(codes(outcomes).values()) == {FailureCode.MODEL_UNAVAILABLE}
    assert all(outcome.failure and ref.sha256 in outcome.failure.message for outcome in outcomes.values())


@pytest.mark.parametrize(("marker", "told"), [("broken", "not today"), ("deadly", "exit status 3")])
def test_an_inferrer_that_cannot_be_loaded_gives_the_task_back(rig: Rig, marker: str, told: str) -> None:
    """No record is blamed: the task is released once with the reason, and the next one is tried anew."""
    (rig.project / marker).touch()
    one = task(runtime("Reluctant"), [1, 2], attempt=3)
    rig.worker(one.runtime.address)
    rig.send(one)

    [released] = rig.hear(lambda message: isinstance(message, Released))

    assert isinstance(released, Released)
    assert (released.task, released.attempt) == (1, 3)
    assert told in released.reason
    (rig.project / marker).unlink()
    assert values(rig.done(task(runtime("Reluctant"), [5], number=2))) == {0: 5}


def test_a_stage_may_infer_in_the_worker_itself(rig: Rig) -> None:
    """With isolation="thread" there is no child process."""
    one = task(runtime("pid", isolation="thread"), [1])
    rig.worker(one.runtime.address)

    assert values(rig.done(one)) == {0: os.getpid()}
