"""An engine with everything it needs, in one process and moved by hand: real store, bus and inferrers."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from msgspec import msgpack

from limner.bus.memory import MemoryBus
from limner.clock import MovedClock
from limner.domain.failures import Failure
from limner.domain.groups import assess_group
from limner.domain.jobs import Counts, Fate, Job
from limner.domain.pipelines import Pipeline, Stage, StageKind
from limner.domain.records import RecordIn, RecordKey, SetAside
from limner.domain.tasks import ANSWERS, Answer, Outcome, Status, Task, decode_task, encode_message
from limner.domain.values import Value, decode, encode, value_digest
from limner.domain.versions import Description, version_of
from limner.engine.assessing import assess_records
from limner.engine.engine import Engine
from limner.engine.estimate import Plan, estimate
from limner.engine.groups import groups_of
from limner.engine.passes import activate, retire_undeclared, stale_nodes
from limner.store.connect import connect_store
from limner.store.ledger import standing
from limner.store.results import FailedAttempt, StoredResult
from limner.store.store import Store
from limner.testing.inline import InlineWorker

Choices = Mapping[str, Sequence[str]]


def toy(name: str) -> str:
    """The target of an inferrer of this folder."""
    return f"tests.engine.toys:{name}"


def record(
    identity: str,
    collection: str = "things",
    *,
    fields: Mapping[str, Value] | None = None,
    revision: str | None = None,
    source_version: int | None = None,
    parent: RecordKey | None = None,
    **more: Value,
) -> RecordIn:
    """A record, its fields by keyword or as a mapping."""
    return RecordIn(
        collection=collection,
        id=identity,
        fields={**(fields or {}), **more},
        revision=revision,
        source_version=source_version,
        parent=parent,
    )


class Lab:
    """One project: what the application wires, without processes."""

    def __init__(
        self, *pipelines: Pipeline, store: Store | None = None, in_flight: int = 4, lease: float = 60.0
    ) -> None:
        self.store = store or connect_store("sqlite://")
        self.clock = MovedClock()
        self.bus = MemoryBus()
        self._in_flight, self._lease = in_flight, timedelta(seconds=lease)
        self._inferred: dict[str, int] = {}
        self._pipelines = {pipeline.name: pipeline for pipeline in pipelines}
        self.restart()

    # What a user does

    def declare(self, *pipelines: Pipeline) -> None:
        """Edit the pipeline files: the next process reads them."""
        self._pipelines.update((pipeline.name, pipeline) for pipeline in pipelines)
        self.engine = self._made()

    def restart(self) -> None:
        """The process dies with its bus and its worker, and another one takes over."""
        self.bus = MemoryBus()
        self.worker = InlineWorker(self.bus)
        self.engine = self._made()
        self.engine.start()

    def open(
        self,
        records: Iterable[RecordIn | SetAside] = (),
        *,
        pipeline: str | None = None,
        ids: Sequence[str] | None = None,
        choices: Choices | None = None,
        priority: int = 0,
        page: int = 1000,
        seal: bool = True,
        expires_in: timedelta | None = None,
        fail_threshold: float | None = None,
    ) -> str:
        """Begin a run as the application does, with all that it does before any work; the job's id."""
        name, ways = self._name(pipeline), {stage: list(chosen) for stage, chosen in (choices or {}).items()}
        engine, given = self.engine, list(records)
        with self.store.transaction() as tx:
            view = engine.view(tx, name, ways)
            retire_undeclared(tx, view)
            described = Description(code="1")
            versions = {
                n.pk: version_of(n.stage, implementation=n.implementation, description=described, model=None)
                for n in view.nodes
            }
            activate(tx, view, versions, now=self.clock.now())
            job = engine.desk.open(
                tx,
                name,
                choices=ways,
                priority=priority,
                expires_in=expires_in,
                fail_threshold=fail_threshold,
            )
        with self.store.transaction() as tx:
            scope = engine.scope(tx, name, ways)
            stale = stale_nodes(tx, scope.view)
        if stale and scope.standing:
            list(engine.passes.over(scope, stale, job=job.id))
        for start in range(0, len(given), page):
            with self.store.transaction() as tx:
                mine = engine.scope(tx, name, ways)
                rows = given[start : start + page]
                taken = engine.intake.take(tx, engine.scopes(tx), mine, job.id, rows, priority=priority)
                tx.jobs.grow(job.id, reused=taken.reused)
        if not given:
            self._enter_stored(name, ways, job.id, ids)
        if seal:
            with self.store.transaction() as tx:
                engine.desk.seal(tx, job.id, engine.scope(tx, name, ways))
        return job.id

    def run(
        self,
        records: Iterable[RecordIn | SetAside] = (),
        *,
        pipeline: str | None = None,
        ids: Sequence[str] | None = None,
        choices: Choices | None = None,
        page: int = 1000,
    ) -> Job:
        """Begin a run and work until nothing moves."""
        job = self.open(records, pipeline=pipeline, ids=ids, choices=choices, page=page)
        self.drain()
        return self.job(job)

    def cancel(self, job: str) -> Counts:
        """Cancel a job."""
        with self.store.transaction() as tx:
            return self.engine.desk.cancel(tx, job, self.engine.scopes(tx))

    def retry(self, job: str) -> int:
        """Open a new round of a job; how many records it has."""
        with self.store.transaction() as tx:
            found = tx.jobs.get(job)
            scope = self.engine.scope(tx, found.pipeline, {k: list(v) for k, v in found.choices.items()})
            return self.engine.desk.retry(tx, scope, job)

    def plan(self, *, pipeline: str | None = None, choices: Choices | None = None, full: bool = False) -> Plan:
        """What a run would do."""
        name, ways = self._name(pipeline), {stage: list(chosen) for stage, chosen in (choices or {}).items()}
        with self.store.transaction() as tx:
            self.engine.view(tx, name, ways)
        with self.store.reading() as tx:
            view = self.engine.view(tx, name, ways)
            described = Description(code="1")
            versions = {
                n.pk: version_of(n.stage, implementation=n.implementation, description=described, model=None)
                for n in view.nodes
            }
            return estimate(tx, view, versions, waiting={}, full=full, only=None, kept=lambda ref: False)

    # What moves

    def step(self) -> bool:
        """One round of the engine's loop."""
        return self.engine.step()

    def work(self, *, limit: int = 1000) -> int:
        """Let the worker answer what waits."""
        return self.worker.work(self.topics(), limit=limit)

    def drain(self, *, rounds: int = 2000) -> None:
        """Step and work until nothing moves."""
        for _ in range(rounds):
            if not self.step() and not self.work():
                if self.waits():
                    self.lapse()
                    continue
                return
        raise AssertionError("the engine never comes to rest")

    def lapse(self) -> None:
        """Time passes until every lease has run out and every retry is due."""
        self.clock.move(self._lease + timedelta(seconds=130))

    def waits(self) -> bool:
        """Whether a task waits for a lease to run out or for its retry."""
        with self.store.reading() as tx:
            return bool(tx.tasks.open_of())

    def topics(self) -> list[str]:
        """The topics of all nodes at work."""
        with self.store.transaction() as tx:
            return self.engine.topics(tx)

    def take(self, *, limit: int = 1000) -> list[Task]:
        """Take tasks off the bus by hand."""
        deliveries = self.bus.take(self.topics(), limit=limit)
        self.bus.acknowledge(deliveries)
        return [decode_task(delivery.body) for delivery in deliveries]

    def send(self, *messages: object) -> None:
        """Put answers, heartbeats or releases on the bus."""
        self.bus.publish(ANSWERS, [encode_message(message) for message in messages])  # type: ignore[arg-type]  # Answer, Heartbeat or Released

    # What there is to see

    def job(self, identity: str) -> Job:
        """A job as it stands."""
        with self.store.reading() as tx:
            return tx.jobs.get(identity)

    def counts(self, owner: str) -> Counts:
        """The counts of a job, or of a pipeline's standing ledger by the pipeline's name."""
        with self.store.reading() as tx:
            return tx.ledger.counts(standing(owner) if owner in self._pipelines else owner)

    def fates(self, job: str) -> dict[str, Fate]:
        """The fate of each record of a job, by id."""
        with self.store.reading() as tx:
            found = {key: fate for page in tx.ledger.pages(job) for key, fate in page.items()}
            records = tx.records.load(list(found))
            return {records[key].id: fate for key, fate in found.items()}

    def inferred(self) -> dict[str, int]:
        """Outputs and failures computed since this was last asked, by stage and implementation."""
        now = dict(self.worker.inferred)
        before, self._inferred = self._inferred, now
        fresh = {key: count - before.get(key, 0) for key, count in now.items()}
        return {key.partition(".")[2].removesuffix("/default"): n for key, n in fresh.items() if n > 0}

    def forget(self) -> None:
        """Count what is inferred from here on; a restart brings a new worker."""
        self._inferred = {}

    def results(
        self, stage: str, *, collection: str = "things", choices: Choices | None = None, pipeline: str | None = None
    ) -> dict[str, StoredResult]:
        """The results that are served of a stage, by the ids of the live records."""
        ways = {name: list(chosen) for name, chosen in (choices or {}).items()}
        with self.store.transaction() as tx:
            view = self.engine.view(tx, self._name(pipeline), ways)
            node = [node for node in view.nodes if node.stage.name == stage][-1]
            key = tx.records.collection(collection)
            records = tx.records.load(tx.records.page(key, limit=10_000, stubs=True))
            found = {}
            for pk, stored in records.items():
                for result in tx.results.of_record(pk):
                    if result.node == node.pk and result.version == node.version:
                        found[stored.id] = result
            return found

    def values(self, stage: str, **where: object) -> dict[str, Value]:
        """What a stage says: its value, its failure, or the reason of a skip, by the ids of the live records."""
        return {identity: told(result) for identity, result in self.results(stage, **where).items()}  # type: ignore[arg-type]  # handed on

    def attempts(self, stage: str, identity: str) -> list[FailedAttempt]:
        """The failed attempts of a record in a stage that stands now, oldest first."""
        result = self.results(stage)[identity]
        with self.store.reading() as tx:
            return [attempt for attempt in tx.results.attempts(result.record) if attempt.node == result.node]

    def children(self, collection: str) -> dict[str, dict[str, Value]]:
        """Id and fields of the live records of a collection."""
        with self.store.reading() as tx:
            key = tx.records.find_collection(collection)
            keys = tx.records.page(key, limit=10_000) if key else []
            return {r.id: dict(r.values()) for r in tx.records.load(keys).values()}

    def unsound(self, *, pipeline: str | None = None) -> list[str]:
        """Results whose digest asked differs from a fresh assessment; a sentence each."""
        found = []
        with self.store.transaction() as tx:
            view = self.engine.view(tx, self._name(pipeline), {})
            for name, collection in view.collections.items():
                keys = tx.records.page(collection, limit=10_000, stubs=True)
                fresh = assess_records(tx, view, collection, keys)
                by_record = fresh.verdicts()
                verdicts = [
                    (node, key, verdicts[node.pk])
                    for node in view.over(collection)
                    for key, verdicts in by_record.items()
                ]
                for node in view.gathers:
                    groups = groups_of(tx, view, node, keys) if node.collection == name else {}
                    for holder, group in groups.items():
                        mine = fresh.loaded.held.get(node.pk, {}).get(holder)
                        verdict = assess_group(node, group.members, mine=mine, complete=group.complete)
                        verdicts.append((node, holder, verdict))
                found += [f"{n.stage.name} of {fresh.loaded.records[k].id}: {v}" for n, k, v in verdicts if v.kind]
        return found

    def _enter_stored(self, name: str, ways: dict[str, list[str]], job: str, ids: Sequence[str] | None) -> None:
        with self.store.transaction() as tx:
            scope = self.engine.scope(tx, name, ways)
            if ids is None and scope.standing:
                tx.ledger.copy(standing(name), to=job)
                return
            root = scope.view.root
            keys = tx.records.page(root, limit=10_000) if ids is None else sorted(tx.records.keys(root, ids).values())
            reused = self.engine.intake.enter(tx, scope, job, {root: keys}, {})
            tx.jobs.grow(job, reused=reused)

    def _name(self, pipeline: str | None) -> str:
        return pipeline or next(iter(self._pipelines))

    def _made(self) -> Engine:
        return Engine(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            pipelines=self._pipelines,
            lease=self._lease,
            in_flight=self._in_flight,
        )


def told(result: StoredResult) -> Value:
    """A value; or the code and reason of a failure; or the reason of a skip."""
    if result.status is Status.FAILED:
        failure = result.failure
        assert failure is not None
        return ("failed", failure.code.value, failure.reason)
    if result.status is Status.SKIPPED:
        return ("skipped", msgpack.decode(result.value))
    return decode(result.value)


def answer(task: Task, outcomes: Sequence[Outcome], *, worker: str = "by hand", last: bool = True) -> Answer:
    """An answer about the records that *outcomes* name."""
    return Answer(
        task=task.id,
        attempt=task.attempt,
        worker=worker,
        outcomes=list(outcomes),
        keys=[task.keys[outcome.index] for outcome in outcomes],
        asked=[task.asked[outcome.index] for outcome in outcomes],
        started=0.0,
        seconds=0.0,
        last=last,
    )


def done(task: Task, value: Value = 1) -> Answer:
    """An answer with the same value for every record."""
    outcomes = [
        Outcome(index, Status.DONE, encode(value), value_digest(value), b"read") for index in range(len(task.keys))
    ]
    return answer(task, outcomes)


def failed(task: Task, failure: Failure, *, alone: bool = False) -> Answer:
    """An answer with the same failure for every record."""
    return answer(task, [Outcome(i, Status.FAILED, failure=failure, alone=alone) for i in range(len(task.keys))])


def gathers(stage: Stage) -> bool:
    """Whether a stage gathers."""
    return stage.kind is StageKind.GATHER
