"""A worker with its bus, sources and artifacts around it, and what an engine would see of it."""

import time
from collections.abc import Callable, MutableMapping, Sequence
from datetime import timedelta
from pathlib import Path

from limner.addresses import AddressGuard
from limner.artifacts.base import Artifacts
from limner.artifacts.folder import FolderArtifacts
from limner.bus.memory import MemoryBus
from limner.clock import MovedClock, SystemClock
from limner.domain.failures import FailureCode
from limner.domain.reads import FileRead
from limner.domain.tasks import (
    ANSWERS,
    Answer,
    FileRef,
    FromWorker,
    Outcome,
    Status,
    Task,
    decode_from_worker,
    encode_message,
)
from limner.domain.values import Value, decode
from limner.testing.picture_server import PictureServer
from limner.worker.cache import FileCache
from limner.worker.fetch import Fetcher
from limner.worker.worker import Worker
from tests.waiting import LONG
from tests.worker.cases import runtime, task, write_project


class Rig:
    """A worker with its bus, sources and artifacts, and what an engine would see of it."""

    def __init__(
        self,
        folder: Path,
        *,
        bus: MemoryBus | None = None,
        at_once: int = 8,
        max_bytes_in_flight: int = 1 << 30,
        pictures: MutableMapping[str, bytes] | None = None,
        fetched_within: timedelta = timedelta(seconds=2),
    ) -> None:
        self.project = write_project(folder / "project")
        self.bus = bus or MemoryBus()
        self.artifacts: Artifacts = FolderArtifacts(folder / "artifacts")
        small = {f"{number}.jpg": b"x" * (number + 1) for number in range(50)}
        self.server = PictureServer(small if pictures is None else pictures)
        self.server.__enter__()
        clock = SystemClock()
        self.fetcher = Fetcher(
            FileCache(folder / "cache", clock=clock),
            guard=AddressGuard(allow_hosts=["127.0.0.1"]),
            clock=clock,
            at_once=at_once,
            total=fetched_within,
            max_bytes_in_flight=max_bytes_in_flight,
        )
        self.workers: list[Worker] = []
        self.heard: list[FromWorker] = []

    def worker(
        self,
        *topics: str,
        name: str = "w1",
        parallel: int = 1,
        max_growth: int | None = None,
        max_value_bytes: int = 8_000_000,
    ) -> Worker:
        """A worker that has started."""
        made = Worker(
            self.bus,
            fetcher=self.fetcher,
            artifacts=self.artifacts,
            project=self.project,
            name=name,
            clock=MovedClock(),
            topics=topics,
            parallel=parallel,
            log=self.project / "child.log",
            wait=timedelta(milliseconds=50),
            max_growth=max_growth,
            max_value_bytes=max_value_bytes,
        )
        self.workers.append(made)
        made.start()
        return made

    def send(self, *tasks: Task) -> None:
        """Publish tasks as the engine does."""
        for one in tasks:
            self.bus.publish(one.runtime.address, [encode_message(one)])

    def hear(self, until: Callable[[FromWorker], bool], *, within: timedelta = LONG) -> list[FromWorker]:
        """Take answers until one satisfies *until*; all that came since the last time."""
        ends = time.monotonic() + within.total_seconds()
        heard: list[FromWorker] = []
        while time.monotonic() < ends:
            deliveries = self.bus.take([ANSWERS], limit=100, wait=timedelta(milliseconds=100))
            self.bus.acknowledge(deliveries)
            heard += [decode_from_worker(delivery.body) for delivery in deliveries]
            self.heard += heard[len(heard) - len(deliveries) :]
            if any(until(message) for message in heard[len(heard) - len(deliveries) :]):
                return heard
        raise AssertionError(f"it was not heard; heard was: {heard}")

    def outcomes(self, one: Task) -> dict[int, Outcome]:
        """The outcomes of a task that is answered to its end, by position; each comes once, with its key."""
        heard = self.hear(lambda message: isinstance(message, Answer) and message.task == one.id and message.last)
        answers = [message for message in heard if isinstance(message, Answer) and message.task == one.id]
        found = [outcome for answer in answers for outcome in answer.outcomes]
        for answer in answers:
            assert answer.keys == [one.keys[outcome.index] for outcome in answer.outcomes]
            assert answer.asked == [one.asked[outcome.index] for outcome in answer.outcomes]
            assert answer.attempt == one.attempt
        assert sorted(outcome.index for outcome in found) == list(range(len(one.records)))
        return {outcome.index: outcome for outcome in found}

    def done(self, one: Task) -> dict[int, Outcome]:
        """Send a task and wait for its outcomes."""
        self.send(one)
        return self.outcomes(one)

    def close(self) -> None:
        """Stop everything."""
        for worker in self.workers:
            worker.stop(timedelta(seconds=5))
        self.fetcher.close()
        self.server.__exit__(None, None, None)


def values(outcomes: dict[int, Outcome]) -> dict[int, Value]:
    """The values of the outcomes that are done."""
    return {
        index: decode(outcome.value)["value"] for index, outcome in outcomes.items() if outcome.status is Status.DONE
    }


def codes(outcomes: dict[int, Outcome]) -> dict[int, FailureCode]:
    """The codes of the outcomes that failed."""
    return {index: outcome.failure.code for index, outcome in outcomes.items() if outcome.failure}


def calls(rig: Rig) -> list[list[int]]:
    """What the moody inferrer was called with."""
    return [[int(number) for number in line.split()] for line in (rig.project / "calls.txt").read_text().splitlines()]


def pictures(rig: Rig, names: Sequence[str], *, number: int = 1, batch: int = 8, **options: Value) -> Task:
    """A task that reads a picture for each record."""
    refs = [encode_message(FileRef(url=rig.server.url(name))) for name in names]
    stage = runtime("size", batch=batch, reads={"picture": FileRead()})
    return task(stage, [], columns={"picture": refs}, number=number, **options)
