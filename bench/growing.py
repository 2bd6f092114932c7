"""One store that is measured at a size: the engine over it in this process; its worker, inline, is left out."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

import bulk

from limner import Pipeline, Stage
from limner.app.status import pipeline_status
from limner.bus.memory import MemoryBus
from limner.clock import SystemClock
from limner.domain.jobs import Fate
from limner.domain.tasks import ANSWERS
from limner.domain.versions import Description, Version, version_of
from limner.engine.engine import Engine
from limner.engine.passes import PAGE, activate, stale_nodes
from limner.engine.scopes import Scope
from limner.store.ledger import standing
from limner.store.store import Store, Transaction
from limner.testing.inline import InlineWorker

#: Records in a task, unless asked otherwise: as in work A of the benchmarks.
TASK = 512
#: Records in one transaction of the intake: as of a run.
_PAGE = 2_000
_OWNER = standing(bulk.PIPELINE)
_TOPICS = [f"{bulk.PIPELINE}.{stage}/default" for stage in ("double", "square")]


@dataclass
class Cost:
    """What a piece of work cost."""

    wall_s: float = 0.0
    #: Processor of this process, in which the engine runs, and SQLite too.
    cpu_s: float = 0.0
    #: Processor of the database's own processes.
    database_s: float = 0.0


@dataclass
class Meter:
    """Adds up what pieces of work cost; *database* tells the processor that the database has used so far."""

    database: Callable[[], float]

    @contextmanager
    def __call__(self, cost: Cost) -> Iterator[None]:
        """Add what the block costs to *cost*."""
        wall, cpu, database = time.perf_counter(), time.process_time(), self.database()
        yield
        cost.wall_s += time.perf_counter() - wall
        cost.cpu_s += time.process_time() - cpu
        cost.database_s += self.database() - database


@dataclass(kw_only=True)
class Turns:
    """What becomes of some records, piece by piece."""

    intake: Cost = field(default_factory=Cost)
    #: The turn that sends the tasks of stage 1.
    first: Cost = field(default_factory=Cost)
    #: The turns that commit stage 1 and plan and send stage 2.
    middle: Cost = field(default_factory=Cost)
    #: The turns that commit stage 2 and end the job.
    last: Cost = field(default_factory=Cost)


class Growing:
    """Nothing else works on its store; records are numbered from 0."""

    def __init__(self, store: Store, meter: Meter) -> None:
        self.store, self.meter = store, meter
        self.clock = SystemClock()
        self.use_tasks_of(TASK)
        with store.transaction() as tx:
            view = self.engine.view(tx, bulk.PIPELINE, {})
            activate(tx, view, self.versions(tx), now=self.clock.now())
            stale = stale_nodes(tx, self._scope(tx).view)
            self.records = tx.ledger.counts(_OWNER).records
        if stale and not self.records:
            list(self.engine.passes.over(self.scope(), stale, job=None))

    def use_tasks_of(self, size: int) -> None:
        """Go on with an engine whose tasks have *size* records."""
        self.bus = MemoryBus()
        self.worker = InlineWorker(self.bus)
        reads = {"double": {"n": "n"}, "square": {"n": "double.x"}}
        stages = [
            Stage(name, infer=f"bulk:{name}", reads=read, batch=size, task_size=size) for name, read in reads.items()
        ]
        self.engine = Engine(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            pipelines={bulk.PIPELINE: Pipeline(bulk.PIPELINE, collection=bulk.COLLECTION, stages=stages)},
            lease=timedelta(hours=1),
            in_flight=100_000,
        )
        self.engine.start()

    def versions(self, tx: Transaction, *, code: str = "1") -> dict[int, Version]:
        """The versions of all nodes, the last of them with *code*."""
        nodes = self.engine.view(tx, bulk.PIPELINE, {}).nodes
        codes = ["1"] * (len(nodes) - 1) + [code]
        return {
            node.pk: version_of(
                node.stage, implementation=node.implementation, description=Description(code=said), model=None
            )
            for node, said in zip(nodes, codes, strict=True)
        }

    def scope(self) -> Scope:
        """The standing pipeline as it is looked through."""
        with self.store.transaction() as tx:
            return self._scope(tx)

    def _scope(self, tx: Transaction) -> Scope:
        return self.engine.scope(tx, bulk.PIPELINE, {})

    def fill(self, count: int) -> tuple[int, Cost]:
        """
        Have *count* records, or a few more: the engine infers the first of them, the rest are copied.

        How many were copied, and what that cost.
        """
        cost, copied = Cost(), 0
        if self.records == 0:
            for start in range(0, min(count, bulk.BLOCK), _PAGE):
                self.take_in(range(start, min(count, bulk.BLOCK, start + _PAGE)))
        while self.records < count:
            with self.meter(cost), self.store.transaction() as tx:
                bulk.copy_block(tx, self.records // bulk.BLOCK, owner=_OWNER, now=self.clock.now())
            self.records += bulk.BLOCK
            copied += bulk.BLOCK
        return copied, cost

    def take_in(self, numbers: Sequence[int], *, changed: int = 0) -> tuple[Turns, int]:
        """
        Take records in as a job and work until it has ended; what that cost, and how many of them were new or changed.

        The inferring itself is left out of the cost.
        """
        turns = Turns()
        page = [bulk.record(number, changed=changed) for number in numbers]
        with self.meter(turns.intake), self.store.transaction() as tx:
            scope = self._scope(tx)
            job = self.engine.desk.open(tx, bulk.PIPELINE, choices={})
            taken = self.engine.intake.take(tx, self.engine.scopes(tx), scope, job.id, page)
            self.engine.desk.seal(tx, job.id, scope)
        for cost in (turns.first, turns.middle, turns.last):
            with self.meter(cost):
                self._turn()
            self.worker.work(_TOPICS, limit=100_000)
        self._rest(turns.last)
        with self.store.reading() as tx:
            counts, ended = tx.ledger.counts(job.id), tx.jobs.get(job.id).state.ended
        if (counts.done, ended) != (len(numbers), True):
            raise RuntimeError(f"The job of {len(numbers)} records ended as {counts}.")
        self.records = max(self.records, max(numbers) + 1)
        return turns, taken.changed

    def _turn(self) -> None:
        """Turns until no answer waits: a turn commits a bounded number of them."""
        while self.engine.step() and self.bus.count(ANSWERS):
            pass

    def _rest(self, cost: Cost) -> None:
        with self.meter(cost):
            while self.engine.step():
                pass

    def look_through(self, *, most: int, code: str = "1", work_off: bool = False) -> tuple[Cost, int, int]:
        """
        A pass of the planner over up to *most* records, from the first on, for the version *code* of the last stage.

        What it cost, how many records it looked at, and how many it planned: those are worked off, or dropped again.
        """
        self._activate(code)
        scope, cost = self.scope(), Cost()
        pages = self.engine.passes.over(scope, list(scope.view.nodes), job=None)
        with self.meter(cost):
            looked = sum(1 for _ in islice(pages, -(-most // PAGE)))
        with self.store.transaction() as tx:
            planned = tx.tasks.open_of(nodes=[node.pk for node in scope.view.nodes])
            if not work_off:
                tx.tasks.drop([task.pk for task in planned])
                tx.ledger.settle(_OWNER, dict.fromkeys((key for task in planned for key in task.keys), Fate.DONE))
        while work_off and self.engine.step():
            self.worker.work(_TOPICS, limit=100_000)
        self._activate("1")
        return cost, min(looked * PAGE, self.records), sum(task.size for task in planned)

    def _activate(self, code: str) -> None:
        with self.store.transaction() as tx:
            activate(tx, self.engine.view(tx, bulk.PIPELINE, {}), self.versions(tx, code=code), now=self.clock.now())

    def make_stale(self, *, each: int, most: int) -> None:
        """Forget what was asked of each *each*-th of the first *most* records in the last stage: they are stale."""
        view = self.scope().view
        node = view.nodes[-1]
        assert node.version is not None
        with self.store.transaction() as tx:
            first = tx.records.page(view.root, limit=most)
            tx.results.forget_asked([(key, node.pk, node.version) for key in first[::each]])

    def status(self) -> Cost:
        """What ``limner status`` reads."""
        cost = Cost()
        with self.meter(cost), self.store.reading() as tx:
            pipeline_status(tx, self.engine.view(tx, bulk.PIPELINE, {}))
        return cost

    def idle_turn(self) -> Cost:
        """A turn of the engine that finds nothing to do."""
        cost = Cost()
        with self.meter(cost):
            self.engine.step()
        return cost

    def over_everything(self) -> tuple[Cost, Cost]:
        """A job over all that is stored, with nothing to do; and a turn of the engine while it is open."""
        cost, turn = Cost(), Cost()
        with self.meter(cost), self.store.transaction() as tx:
            scope = self._scope(tx)
            job = self.engine.desk.open(tx, bulk.PIPELINE, choices={})
            tx.ledger.copy(_OWNER, to=job.id)
            self.engine.desk.seal(tx, job.id, scope)
        with self.meter(turn):
            self.engine.step()
        with self.store.reading() as tx:
            assert tx.jobs.get(job.id).state.ended
        return cost, turn

    def look_up(self, times: int) -> Cost:
        """One record after another by its id, with the values of both stages: *times* of them, anywhere."""
        rng, cost, view = random.Random(1), Cost(), self.scope().view
        ids = [bulk.record(rng.randrange(self.records)).id for _ in range(times)]
        versions: Mapping[int, int] = view.versions
        found = 0
        with self.meter(cost):
            for identity in ids:
                with self.store.looking_up() as tx:
                    rows = tx.lookups.records(view.root, [identity])
                    found += len(tx.lookups.results([rows[0][1]], versions=list(versions.values())))
        if found != 2 * times:
            raise RuntimeError(f"{found} values of {times} records were found.")
        return cost
