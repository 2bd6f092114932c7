"""One project at work in a server: its engine's loop, whoever commits for far workers, and workers of its own."""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta

import structlog

from limner.app.app import App
from limner.app.bus_watch import BusWatch
from limner.app.committing import Committing
from limner.app.described import Known, Way, with_offers
from limner.app.intaking import Intaking
from limner.app.secrets import ServerKey
from limner.app.serving import Serving
from limner.app.standing_in import StandIn, served_by_others
from limner.app.submitting import Submission
from limner.app.work_mail import Mail
from limner.bus.base import Delivery
from limner.domain.jobs import Counts, Job
from limner.domain.pipelines import Pipeline
from limner.domain.tasks import FromWorker
from limner.domain.versions import Version
from limner.engine.engine import Engine
from limner.engine.receipts import Receipt
from limner.errors import BusUnavailable, ConfigurationError, LimnerError, NotFound, StoreUnavailable
from limner.store.store import Store
from limner.worker.worker import Worker

#: How long a turn waits for answers when there is nothing else to do.
_IDLE = timedelta(seconds=0.05)
#: Seconds between two looks at followers: the search index and whatever else was hooked in.
_FOLLOW = 0.5
#: Seconds between two looks for jobs that nobody takes in.
_TEND = 1.0
_AGAIN = 1.0
_log = structlog.get_logger(__name__)


class Host:
    """
    One project at work until it is stopped.

    Everything that the engine does happens under one lock, here; reading the store needs none.
    """

    def __init__(self, app: App, *, key: ServerKey, leads: bool = True, own_workers: bool = True) -> None:
        """*leads*: this process runs the engine's loop; *own_workers*: it infers more than what is light, too."""
        self.name = app.project.name
        self.app = app
        self.key = key
        self.clock = app.clock
        self.leads = leads
        self.lock = threading.RLock()
        self.engine: Engine = app.engine_of(app.declared.own or app.declared.pipelines)
        self.serving = Serving(self)
        self.intaking = Intaking(self)
        self.committing = Committing(self.engine, lock=self.lock, project=self.name)
        self._own_workers = own_workers
        self._leading = False
        self._next_tending = 0.0
        self._chores: deque[_Chore] = deque()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._stack = ExitStack()
        self._watch: BusWatch | None = None
        #: What infers in this process, once it leads.
        self._worker: Worker | None = None
        #: Names of the forms that callbacks can have here.
        self.callback_formats: Collection[str] = ("limner",)
        #: Called about twice a second, beside the loop: followers, the outbox.
        self.followers: list[Callable[[], None]] = [self._index]

    @property
    def leading(self) -> bool:
        """Whether this process runs the engine now."""
        return self._leading

    @property
    def bus_trouble(self) -> str | None:
        """What kept messages from moving when it was last looked, as a sentence."""
        return self._watch.trouble if self._watch else None

    @property
    def store(self) -> Store:
        """The project's store."""
        return self.app.store

    @property
    def known(self) -> Mapping[str, Known]:
        """By pipeline: what its implementations are now."""
        return self.serving.known

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """What is served, the implementations that outside workers offer included."""
        return self.engine.pipelines

    def pipeline(self, name: str) -> Pipeline:
        """
        The pipeline called *name*.

        Raises:
            NotFound: there is none; the sentence names the known ones.
        """
        if name not in self.pipelines:
            raise NotFound(f"No pipeline {name} is served here; known are: {', '.join(self.pipelines) or 'none'}")
        return self.pipelines[name]

    def start(self) -> None:
        """
        Take the store over and begin; on a database that several processes share, stand by until one may.

        Raises:
            ConfigurationError: another process runs the engine of this project.
        """
        if self.leads:
            if self.app.lock.take():
                self._take_over()
            elif not self.app.lock.shared:
                raise ConfigurationError(
                    f"Process {self.app.lock.holder()} runs the engine of project {self.name} already; stop it first, "
                    "or start this one with --role api."
                )
            self._begin("engine", self._lead)
        if not self._leading:
            self.serving.look()
        self._begin("followers", self._follow)
        if self.app.bus.shared:
            self._watch = BusWatch(self.app.bus, project=self.name, stopping=self._stopping)
            self._begin("bus", self._watch.run)
            if self.leads:
                self._begin("mail", Mail(self, stopping=self._stopping).run)

    def _take_over(self) -> None:
        """Become the process that runs the engine: what an earlier one left is gone on with."""
        self.refresh()
        with self.lock:
            self.engine.start()
        self.intaking.end_impossible()
        self.intaking.go_on()
        topics = self._own_topics()
        if self._own_workers:
            self._worker = self._stack.enter_context(self.app.working(topics))
        elif topics:
            bus = StandIn(self.app.bus, served=self._served_elsewhere)
            self._worker = self._stack.enter_context(self.app.working(topics, parallel=1, bus=bus))
        self._leading = True

    def stop(self, grace: timedelta) -> None:
        """Take no more, let workers finish or give back within *grace*, commit what they said, and let go."""
        self._stopping.set()
        self.intaking.stop()
        for thread in self._threads:
            thread.join(grace.total_seconds())
        if self._worker is not None:
            self._worker.stop(grace)
        self._stack.close()
        if self._leading:
            try:
                with self.lock:
                    self.engine.finish()
            except BusUnavailable as error:
                # What was said lies there still, or its tasks are sent again.
                _log.warning("bus_unavailable", project=self.name, reason=str(error))
        self.app.lock.release()
        self.app.close()

    def refresh(self) -> None:
        """Serve what the pipelines' implementations are now: a model was promoted, or code was changed."""
        self.serving.refresh()
        if self._worker is not None:
            # What could not run when it began may by now: its model was added.
            for topic in self._own_topics():
                self._worker.serve(topic)

    def submit(self, ask: Submission) -> Job:
        """
        Make a job; it is stored when this returns. Its records are, too, unless they stand in a manifest or are many.

        Raises:
            NotFound: the pipeline, or what is chosen of it, is unknown.
            UsageError: the choices do not fit, or there is nothing to do.
            KeyReused: the idempotency key came with another request.
        """
        return self.intaking.submit(ask)

    def cancel(self, job: str) -> Counts:
        """
        Stop a job; what it finished stays.

        Raises:
            NotFound: there is none.
            IllegalMove: it has ended.
        """
        with self.lock, self.store.transaction() as tx:
            tx.jobs.get(job)
            return self.engine.desk.cancel(tx, job, self.engine.scopes(tx))

    def retry(self, job: str, *, codes: Sequence[str] | None = None, cancelled: bool = True) -> int:
        """
        Try again what failed in an ended job, only with these failure *codes* if any; how many records that is.

        Raises:
            NotFound: there is none.
            UsageError: it has not ended, or nothing of the kind failed.
        """
        with self.lock, self.store.transaction() as tx:
            found = tx.jobs.get(job)
            self.serving.choose(tx, found.pipeline, found.choices)
            scope = self.engine.scope(tx, found.pipeline, found.choices)
            return self.engine.desk.retry(tx, scope, job, cancelled=cancelled, codes=codes)

    def commit(self, messages: Sequence[FromWorker]) -> list[Receipt]:
        """
        Commit what workers say; what became of each answer, in order, once that is on the disk.

        Those who wait at the same time are committed together.
        """
        return self.committing.commit(messages)

    def take(self, topics: Sequence[str], *, limit: int, wait: timedelta) -> list[Delivery]:
        """Up to *limit* tasks of *topics*, as soon as there is one, at the latest after *wait*; see :meth:`settle`."""
        return self.app.bus.take(topics, limit=limit, wait=wait)

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Forget messages whose tasks were handed out: their leases stand in the store."""
        self.app.bus.acknowledge(deliveries)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Put messages back that were not handed out."""
        self.app.bus.release(deliveries)

    def met(self, way: Way, *, pipeline: str, version: Version, live: Callable[[str], bool]) -> None:
        """A worker serves a version of an implementation that cannot be described here; see :meth:`Serving.met`."""
        self.serving.met(way, pipeline=pipeline, version=version, live=live)

    def offered(self) -> None:
        """Serve the implementations that outside workers have come to offer."""
        with self.lock:
            with self.store.reading() as tx:
                offers = tx.workers.offers()
            self.engine.pipelines = with_offers(self.engine.pipelines, offers)

    def do(self, chore: Callable[[], Iterator[None]]) -> None:
        """
        Have the loop go through *chore* beside its work, a step at a time, until it is at its end.

        It is begun anew where the store was out of reach, so it must be such that this does no harm.
        """
        self._chores.append(_Chore(chore))

    def serves(self, address: str) -> bool:
        """Whether a worker of this process serves *address*, ``pipeline.stage/implementation``."""
        return self.leads and address in self._own_topics()

    def _served_elsewhere(self) -> Collection[str]:
        """The addresses that far workers serve as they are served here; none where the store cannot be asked."""
        versions = {version.digest for known in self.known.values() for version in known.versions.values()}
        try:
            with self.store.reading() as tx:
                return served_by_others(tx, versions, now=self.clock.now())
        except StoreUnavailable:
            return ()

    def _own_topics(self) -> list[str]:
        """
        The addresses of the implementations that this process serves itself.

        What is light is among them even where all else is left to far workers: nobody thinks of starting one for it.
        """
        return [
            f"{name}.{stage}/{way}"
            for name, pipeline in self.pipelines.items()
            for stage, way in self.serving.served_here(pipeline)
            if self._own_workers or pipeline.stage(stage).light_by(way)
        ]

    def _begin(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=f"{name} {self.name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _lead(self) -> None:
        """The engine's loop."""
        moved, broken = True, False
        while not self._stopping.is_set():
            try:
                if broken:
                    self._look_who_leads()
                    broken = False
                if not self._leading:
                    if not self.app.lock.take():
                        self._stopping.wait(_AGAIN)
                        continue
                    self._take_over()
                moved = self._turn(wait=timedelta() if moved else _IDLE)
                self._tend()
            except (StoreUnavailable, BusUnavailable) as error:
                _log.warning("engine_waits", project=self.name, reason=str(error))
                broken = True
                self._stopping.wait(_AGAIN)
            except Exception:  # noqa: BLE001  a server whose engine stopped would look alive and do nothing
                _log.exception("turn_broke", project=self.name)
                broken = True
                self._stopping.wait(_AGAIN)

    def _turn(self, *, wait: timedelta) -> bool:
        """One turn: answers that came on the bus, what waits to be committed, and a step of each chore."""
        deliveries = self.engine.waiting(wait=timedelta() if self._chores else wait)
        with self.lock:
            moved = self.engine.turn(deliveries)
        for _ in range(len(self._chores)):
            chore = self._chores.popleft()
            with self.lock:
                more = self._advance(chore)
            if more:
                self._chores.append(chore)
        return moved or bool(self._chores)

    def _tend(self) -> None:
        """Look from time to time for jobs that nobody takes in."""
        if time.monotonic() >= self._next_tending:
            self._next_tending = time.monotonic() + _TEND
            self.intaking.go_on()

    def _advance(self, chore: "_Chore") -> bool:
        """One step of a chore; whether there is more of it."""
        try:
            return chore.step()
        except StoreUnavailable as error:
            _log.warning("chore_waits", project=self.name, reason=str(error))
            chore.again()
            return True
        except LimnerError as error:
            _log.error("chore_ended", project=self.name, reason=str(error))
            return False

    def _look_who_leads(self) -> None:
        """
        Stand by where the lock went with its connection and another process has it now.

        Raises:
            StoreUnavailable: nobody can lead without the store.
        """
        if self.app.lock.shared and self._leading and not self.app.lock.take():
            self._leading = False
            # Whoever leads now goes on with them.
            self._chores.clear()
            self.intaking.let_go()
            self._stack.close()
            self._worker = None

    def _follow(self) -> None:
        """Let followers catch up, again and again; one that breaks is tried again and does not hold the others up."""
        while not self._stopping.wait(_FOLLOW):
            for follow in self.followers:
                try:
                    follow()
                except LimnerError as error:
                    _log.warning("follower_waits", project=self.name, reason=str(error))
                except Exception:  # noqa: BLE001  the others go on
                    _log.exception("follower_broke", project=self.name)

    def _index(self) -> None:
        """Take what changed into the search indexes; into those that servers share, the one that leads."""
        if self.app.indexes.shared and not self._leading:
            return
        for name, pipeline in self.pipelines.items():
            index = pipeline.index
            if index.text or index.filters or index.vectors:
                self.app.index(name)


class _Chore:
    """Something that the loop does beside its work, a step at a time."""

    def __init__(self, make: Callable[[], Iterator[None]]) -> None:
        self._make = make
        self._steps = make()

    def step(self) -> bool:
        """Do one step; whether there are more."""
        return next(self._steps, _NO_MORE) is not _NO_MORE

    def again(self) -> None:
        """Begin anew."""
        self._steps = self._make()


_NO_MORE = object()
