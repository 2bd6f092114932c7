"""Projects at work in this process whose tasks are done by hand, so that a test says what happens and when."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.app.submitting import Submission
from limner.clock import Clock
from limner.domain.failures import Failure
from limner.domain.jobs import Counts, Job
from limner.domain.records import RecordIn, SetAside
from limner.domain.tasks import Answer, Outcome, Status, Task, decode_task
from limner.domain.values import Value, decode, encode, value_digest
from limner.engine.receipts import Receipt
from limner.settings import load_project
from tests.waiting import until

#: One stage that only outside workers hold, so that nothing is inferred but what a test answers.
PIPELINE = """
from limner import Implementation, Number, Pipeline, RetryPolicy, Stage

pipeline = Pipeline("numbers", collection="things", standing=False, stages=[
    Stage("double", reads={"n": "n"}, implementations={"theirs": Implementation(infer="external")},
          outputs={"value": Number()}, batch=1, task_size=TASK, retry=RetryPolicy(attempts={})),
])
"""
TOPIC = "numbers.double/theirs"


@contextmanager
def at_work(
    folder: Path,
    *,
    pipeline: str = PIPELINE,
    task_size: int = 10,
    settings: str = "",
    clock: Clock | None = None,
    leads: bool = True,
    own_workers: bool = False,
) -> Iterator[Projects]:
    """The projects of a folder, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.py").write_text(pipeline.replace("TASK", str(task_size)))
    (folder / "limner.toml").write_text(settings)
    projects = Projects(load_project(folder, environment={}), clock=clock, leads=leads, own_workers=own_workers)
    try:
        projects.start()
        yield projects
    finally:
        projects.stop(timedelta(seconds=10))
        projects.root.close()


def things(count: int, *, first: int = 0) -> list[RecordIn]:
    """Records r0, r1, …"""
    return [RecordIn(collection="things", id=f"r{n}", fields={"n": n}) for n in range(first, first + count)]


def ask(rows: Sequence[RecordIn | SetAside] | None = None, **more: object) -> Submission:
    """A job of the pipeline above."""
    return Submission(pipeline="numbers", rows=rows, **more)  # type: ignore[arg-type]  # handed on


def job_of(host: Host, job: Job) -> Job:
    """The job as it stands."""
    with host.store.reading() as tx:
        return tx.jobs.get(job.id)


def counts_of(host: Host, job: Job) -> Counts:
    """What became of its records; they add up in every read."""
    with host.store.reading() as tx:
        counts = tx.ledger.counts(job.id)
    assert counts.records == counts.open + counts.done + counts.failed + counts.skipped + counts.cancelled
    return counts


def events_of(host: Host, job: Job) -> list[tuple[str, Mapping[str, Value]]]:
    """What happened to it."""
    with host.store.reading() as tx:
        return [(event.kind, event.detail) for event in tx.jobs.events(job.id)]


def ended(host: Host, job: Job) -> str:
    """How it ended."""
    until(lambda: job_of(host, job).state.ended)
    return job_of(host, job).state.value


def sealed(host: Host, job: Job) -> Job:
    """The job once all its records are known, or it has ended before."""
    until(lambda: job_of(host, job).sealed)
    return job_of(host, job)


def values_of(host: Host, job: Job) -> dict[str, Value]:
    """The stage's value of each record of a job that has one."""
    with host.store.reading() as tx:
        keys = sorted(key for page in tx.ledger.pages(job.id) for key in page)
        records = tx.records.load(keys)
        (node,) = tx.nodes.of("numbers")
        found = tx.results.values(keys, node=node.pk, version=node.active) if node.active else {}
        return {records[key].id: decode(value) for key, value in found.items()}


def taken(host: Host, *, limit: int = 1, within: timedelta = timedelta(seconds=20)) -> list[Task]:
    """The next tasks, as a worker takes them; none if there is none within the time."""
    deliveries = host.take([TOPIC], limit=limit, wait=within)
    host.settle(deliveries)
    return [decode_task(delivery.body) for delivery in deliveries]


def doubled(task: Task, *, only: Iterable[int] | None = None, worker: str = "hand") -> Answer:
    """The right answer to a task, or to some of its records by their place."""
    places = range(len(task.keys)) if only is None else list(only)
    values: list[Value] = [{"value": 2 * int(task.records[at].removeprefix("r"))} for at in places]
    outcomes = [
        Outcome(at, Status.DONE, encode(value), value_digest(value), b"read")
        for at, value in zip(places, values, strict=True)
    ]
    return _answer(task, outcomes, worker=worker)


def broken(task: Task, failure: Failure, *, only: Iterable[int] | None = None) -> Answer:
    """An answer in which records of a task fail."""
    places = range(len(task.keys)) if only is None else only
    return _answer(task, [Outcome(at, Status.FAILED, failure=failure, alone=True) for at in places], worker="hand")


def _answer(task: Task, outcomes: list[Outcome], *, worker: str) -> Answer:
    return Answer(
        task=task.id,
        attempt=task.attempt,
        worker=worker,
        outcomes=outcomes,
        keys=[task.keys[one.index] for one in outcomes],
        asked=[task.asked[one.index] for one in outcomes],
        started=0.0,
        seconds=0.01,
        last=False,
    )


class Hands:
    """A worker thread that answers every task; entered, it works until the block ends."""

    def __init__(self, host: Host, *, say: Callable[[Task], Answer] = doubled) -> None:
        self._host = host
        self._say = say
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hands", daemon=True)
        #: What became of its answers.
        self.receipts: list[Receipt] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        while not self._stopping.is_set():
            for task in taken(self._host, limit=8, within=timedelta(seconds=0.05)):
                self.receipts += self._host.commit([self._say(task)])
