"""A worker that stops, or whose bus or child is gone, loses nothing."""

import os
import signal
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from limner.bus.base import Delivery
from limner.bus.memory import MemoryBus
from limner.domain.tasks import (
    ANSWERS,
    Answer,
    Released,
)
from limner.errors import BusUnavailable
from tests.waiting import LONG, until
from tests.worker.cases import lines, runtime, task
from tests.worker.rig import Rig, pictures, values


class FlakyBus(MemoryBus):
    """A bus that cannot be reached for its first few questions and publications of answers."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = {"take": 2, "publish": 2}

    def _fail(self, verb: str) -> None:
        if self.failing[verb]:
            self.failing[verb] -= 1
            raise BusUnavailable(f"cannot {verb}")

    def take(self, topics: Sequence[str], *, limit: int, wait: timedelta = timedelta()) -> list[Delivery]:
        """Take, if it can be reached."""
        if list(topics) != [ANSWERS]:
            self._fail("take")
        return super().take(topics, limit=limit, wait=wait)

    def publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        """Publish, if it can be reached."""
        if topic == ANSWERS:
            self._fail("publish")
        super().publish(topic, bodies)


@pytest.mark.timed
def test_a_stopping_worker_finishes_the_batch_in_hand_and_gives_back_the_rest(rig: Rig) -> None:
    """What was done is answered, what was not is released, and nothing is lost or left running."""
    stage = runtime("slow", batch=2)
    first, second = task(stage, range(40), number=1), task(stage, range(4), number=2)
    worker = rig.worker(stage.address)
    rig.send(first, second)
    until(lambda: len(lines(rig.project / "pids.txt")) >= 3)

    began = time.monotonic()
    worker.stop(timedelta(seconds=10))

    assert time.monotonic() - began < 3
    heard = rig.hear(lambda message: isinstance(message, Released) and message.task == 2)
    outcomes = [outcome for message in heard if isinstance(message, Answer) for outcome in message.outcomes]
    assert 4 <= len(outcomes) < 40
    assert len(outcomes) % 2 == 0
    assert not any(message.last for message in heard if isinstance(message, Answer))
    released = [message for message in heard if isinstance(message, Released)]
    assert {message.task for message in released} == {1, 2}
    assert all("stopping" in message.reason for message in released)
    assert rig.bus.count(stage.address) == 0


@pytest.mark.timed
def test_a_batch_that_outlasts_the_grace_is_ended_and_given_back(rig: Rig) -> None:
    """No record is blamed for what the worker ended itself."""
    one = task(runtime("moody", timeout=LONG), [1, -2])
    worker = rig.worker(one.runtime.address)
    rig.send(one)
    until((rig.project / "calls.txt").exists)

    began = time.monotonic()
    worker.stop(timedelta(seconds=0.2))

    assert time.monotonic() - began < 3
    [released] = rig.hear(lambda message: isinstance(message, Released))
    assert isinstance(released, Released)
    assert "stopping" in released.reason


@pytest.mark.timed
def test_a_stop_does_not_wait_for_slow_downloads(rig: Rig) -> None:
    """A task whose pictures are under way is given back at once; those that wait are not fetched."""
    rig.server.delay = timedelta(seconds=1)
    one = pictures(rig, [f"{number}.jpg" for number in range(30)])
    worker = rig.worker(one.runtime.address)
    rig.send(one)
    until(rig.server.total)

    began = time.monotonic()
    worker.stop(timedelta(seconds=10))

    assert time.monotonic() - began < 1
    rig.hear(lambda message: isinstance(message, Released))
    assert rig.server.total() <= 8


def test_a_child_that_is_killed_from_outside_costs_no_record(rig: Rig) -> None:
    """A child that the machine kills in a batch is replaced, and the batch is done."""
    stage = runtime("slow", batch=4)
    worker = rig.worker(stage.address)
    rig.done(task(stage, [1], number=1))
    one = task(stage, range(8), number=2)
    rig.send(one)
    until(lambda: len(lines(rig.project / "pids.txt")) == 2)

    os.kill(int(lines(rig.project / "pids.txt")[-1]), signal.SIGKILL)

    assert values(rig.outcomes(one)) == {number: number for number in range(8)}
    assert worker.slots(stage.address) == 1


def test_a_topic_can_be_added_while_it_works(rig: Rig) -> None:
    """A worker that started with nothing serves what it is told to, and says how long it was idle."""
    worker = rig.worker()
    one = task(runtime("double"), [4])
    worker.serve(one.runtime.address)
    worker.serve(one.runtime.address)

    assert values(rig.done(one)) == {0: 8}
    assert worker.topics == [one.runtime.address]
    assert worker.idle_for() < LONG


def test_a_bus_that_cannot_be_reached_is_asked_again(tmp_path: Path) -> None:
    """Neither tasks nor answers are lost while the bus is away."""
    rig = Rig(tmp_path, bus=FlakyBus())
    try:
        one = task(runtime("double"), [1])
        rig.worker(one.runtime.address)

        assert values(rig.done(one)) == {0: 2}
    finally:
        rig.close()


@pytest.mark.timed
def test_a_stop_does_not_wait_for_a_bus_that_is_gone(tmp_path: Path) -> None:
    """After its grace a worker ends without having told; the store finds what is owed."""
    bus = FlakyBus()
    rig = Rig(tmp_path, bus=bus)
    one = task(runtime("double"), [1])
    worker = rig.worker(one.runtime.address)
    bus.failing["publish"] = 1_000_000
    rig.send(one)
    until(lambda: bus.failing["publish"] < 1_000_000)

    began = time.monotonic()
    worker.stop(timedelta(seconds=0.3))

    assert time.monotonic() - began < 5
    rig.close()
