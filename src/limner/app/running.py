"""One run: takes a job's records in and works until all of it is current, or waits for the process that does."""

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta

from msgspec import Struct, structs

from limner.app.interrupts import Interrupts
from limner.app.lock import EngineLock, SharedLock, lives, name_of
from limner.app.preparing import Preparing, Request, lists
from limner.app.slices import RowCounts
from limner.clock import Clock
from limner.domain.jobs import Counts, Job
from limner.domain.versions import Version
from limner.engine.engine import Engine
from limner.engine.passes import activate, retire_undeclared, stale_nodes
from limner.errors import UsageError
from limner.store.store import Transaction

#: Records in one transaction of the intake.
PAGE = 2000
_POLL = timedelta(seconds=0.2)


class Progress(Struct, frozen=True, kw_only=True):
    """Where a run stands."""

    job: str
    counts: Counts
    inferred: int
    #: Looking through records; the total is not known yet.
    preparing: bool
    #: Another process runs the engine and does the work.
    waiting_for: int | None = None
    #: What is being done, where a command does several things in a row: ``publishing``.
    doing: str = ""


class Summary(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a run ended."""

    job: str
    records: int
    done: int
    failed: int
    skipped: int
    cancelled: int
    #: Outputs computed in this run.
    inferred: int
    #: Results found current.
    reused: int
    #: Source rows that could not become records.
    set_aside: int
    seconds: float
    #: How the rows of a collection of slices stand now, by stage; None, and in no document, where it is none.
    rows: Mapping[str, RowCounts] | None = None


class Interrupted(Exception):
    """The user stopped a run; everything stays as it is and the same command goes on with it."""

    def __init__(self, job: str) -> None:
        super().__init__(job)
        self.job = job


class Runner:
    """Runs jobs in this process."""

    def __init__(
        self,
        *,
        engine: Engine,
        lock: EngineLock | SharedLock,
        clock: Clock,
        working: Callable[[list[str]], AbstractContextManager[object]],
    ) -> None:
        """*working* is a context in which a worker of this process serves the given topics."""
        self._engine = engine
        self._lock = lock
        self._clock = clock
        self._working = working
        self._interrupts = Interrupts()

    def run(
        self,
        request: Request,
        versions: Mapping[int, Version],
        *,
        progress: Callable[[Progress], None],
        on: Job | None = None,
    ) -> Summary:
        """
        Take the records in and work until the job has ended; *on* is a job that was begun, to go on with.

        Of such a job's source, *request* holds the pages after those that were taken in.

        Raises:
            UsageError: the request is for no record at all.
            Interrupted: the user stopped it.
        """
        started = self._clock.now()
        engine = self._engine
        with self._interrupts:
            if request.pages is not None:
                request = structs.replace(request, pages=self._interrupts.between(request.pages))
            with engine.store.transaction() as tx:
                view = engine.view(tx, request.pipeline, lists(request.choices))
                retire_undeclared(tx, view)
                activate(tx, view, versions, now=started)
                job = self._opened(tx, request, on)
            preparing = iter(()) if job.sealed else Preparing(engine).over(request, job)
            return self._work(job.id, preparing, started=started, progress=progress)

    def retry(
        self,
        job: Job,
        versions: Mapping[int, Version],
        *,
        cancelled: bool = True,
        progress: Callable[[Progress], None],
    ) -> Summary:
        """
        Try again what failed, and with *cancelled* what was cancelled, in an ended job, as a new round of it.

        Raises:
            UsageError: nothing failed, or the job has not ended.
            Interrupted: the user stopped it.
        """
        started = self._clock.now()
        engine = self._engine
        with self._interrupts:
            with engine.store.transaction() as tx:
                view = engine.view(tx, job.pipeline, lists(job.choices))
                activate(tx, view, versions, now=started)
            with engine.store.transaction() as tx:
                scope = engine.scope(tx, job.pipeline, lists(job.choices))
                engine.desk.retry(tx, scope, job.id, cancelled=cancelled)
                stale = stale_nodes(tx, scope.view)
            preparing = engine.passes.over(scope, stale, job=job.id) if stale and scope.standing else iter(())
            return self._work(job.id, (None for _ in preparing), started=started, progress=progress)

    def _opened(self, tx: Transaction, request: Request, on: Job | None) -> Job:
        """The job of *request*, or *on*, which is now this process's."""
        engine = self._engine
        detail = {**request.detail, "process": name_of(os.getpid())}
        if on is None:
            return engine.desk.open(
                tx, request.pipeline, choices=request.choices, priority=request.priority, detail=detail
            )
        job = structs.replace(tx.jobs.get(on.id), detail={**on.detail, **detail})
        tx.jobs.replace(job)
        return job

    def _work(
        self, identity: str, preparing: Iterator[None], *, started: float, progress: Callable[[Progress], None]
    ) -> Summary:
        try:
            while not self._ended(identity):
                self._interrupts.heed()
                if self._lock.take():
                    self._lead(identity, preparing, progress)
                else:
                    self._wait(identity, preparing, progress)
        except KeyboardInterrupt:
            raise Interrupted(identity) from None
        except UsageError:
            self._give_up(identity)
            raise
        finally:
            self._lock.release()
        return self.summary(identity, started=started)

    def _lead(self, identity: str, preparing: Iterator[None], progress: Callable[[Progress], None]) -> None:
        """Run the engine and a worker until the job has ended."""
        engine = self._engine
        engine.start()
        self._adopt(identity)
        more, working, moved = True, False, True
        with ExitStack() as stack:
            stack.enter_context(_few_collections())
            # After the worker has stopped: what it had in hand is not to be done again by whoever goes on.
            stack.callback(engine.finish)
            while not self._ended(identity):
                self._interrupts.heed()
                more = more and next(preparing, _NO_MORE) is not _NO_MORE
                moved = engine.step(wait=_POLL if not more and (working or not moved) else timedelta())
                if engine.sent and not working:
                    # Only now: a run that finds everything current starts no process.
                    stack.enter_context(self._working(self._topics()))
                    working = True
                self._tell(identity, progress, preparing=more)

    def _topics(self) -> list[str]:
        with self._engine.store.transaction() as tx:
            return self._engine.topics(tx)

    def _wait(self, identity: str, preparing: Iterator[None], progress: Callable[[Progress], None]) -> None:
        """Leave the work to the process that holds the engine lock, until the job has ended or that process has."""
        for _ in preparing:
            self._interrupts.heed()
            self._tell(identity, progress, preparing=True)
        while not self._ended(identity) and not self._lock.take():
            self._interrupts.heed()
            self._tell(identity, progress, preparing=False, waiting_for=self._lock.holder())
            time.sleep(_POLL.total_seconds())

    def _adopt(self, mine: str) -> None:
        """Seal the jobs whose process died while it took records in: what it had committed is what they hold."""
        with self._engine.store.transaction() as tx:
            for job in tx.jobs.open():
                process = job.detail.get("process")
                if (
                    job.sealed
                    or job.id == mine
                    or job.pipeline not in self._engine.pipelines
                    or (isinstance(process, str) and lives(process))
                ):
                    continue
                tx.jobs.event(job.id, "interrupted", at=self._clock.now())
                self._engine.desk.seal(tx, job.id, self._engine.scope(tx, job.pipeline, job.choices))

    def _give_up(self, identity: str) -> None:
        with self._engine.store.transaction() as tx:
            if not tx.jobs.get(identity).state.ended:
                self._engine.desk.cancel(tx, identity, self._engine.scopes(tx))

    def _ended(self, identity: str) -> bool:
        with self._engine.store.reading() as tx:
            return tx.jobs.get(identity).state.ended

    def _tell(
        self,
        identity: str,
        progress: Callable[[Progress], None],
        *,
        preparing: bool,
        waiting_for: int | None = None,
    ) -> None:
        with self._engine.store.reading() as tx:
            job, counts = tx.jobs.get(identity), tx.ledger.counts(identity)
        progress(
            Progress(job=identity, counts=counts, inferred=job.inferred, preparing=preparing, waiting_for=waiting_for)
        )

    def summary(self, identity: str, *, started: float) -> Summary:
        """How a job stands, as a run reports it."""
        with self._engine.store.reading() as tx:
            job, counts = tx.jobs.get(identity), tx.ledger.counts(identity)
        return Summary(
            job=identity,
            records=counts.records,
            done=counts.done,
            failed=counts.failed,
            skipped=counts.skipped,
            cancelled=counts.cancelled,
            inferred=job.inferred,
            reused=job.reused,
            set_aside=job.set_aside,
            seconds=round(self._clock.now() - started, 3),
        )


_NO_MORE = object()


@contextmanager
def _few_collections() -> Iterator[None]:
    """
    Look for garbage in cycles seldom while the block runs.

    The loop makes many objects and hardly a cycle; looking through all of them as often as Python does by itself
    took a sixth of work A's time (bench/).
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
