"""A worker far from its server: learns what is wanted, says what it can do here, serves it, and stops in good order."""

import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import structlog
from msgspec import Struct

from limner import __version__
from limner.addresses import AddressGuard, environment_proxy
from limner.app.declared import Declared
from limner.app.far_offer import Offer, look
from limner.app.far_told import Reasons
from limner.app.fetching import cache_of, resolvers_of
from limner.app.machine import gpu, memory_of
from limner.app.percentiles import percentile
from limner.artifacts.connect import connect_far_artifacts
from limner.bus.base import Bus
from limner.bus.connect import connect_far_bus, connect_server
from limner.clock import Clock, SystemClock
from limner.domain.workers import Beat, Hello, Served, Told
from limner.errors import LimnerError, ServerRefused, ServerUnavailable, UsageError
from limner.server_client import worker_name
from limner.settings import Project
from limner.worker.fetch import Fetcher
from limner.worker.worker import Worker

_log = structlog.get_logger(__name__)

#: One question for tasks waits so long: short enough that a worker that is to stop does not wait for it.
_POLL = timedelta(seconds=3)
#: How often it is looked whether it is time to stop, in seconds.
_LOOK = 0.1
#: First and longest wait before a server that could not be reached is asked again, in seconds.
_AGAIN = (0.5, 15.0)
#: The first heartbeat, which says what memory it has once it has begun.
_FIRST_BEAT = timedelta(seconds=2)
#: What is left of the grace of a worker that is to hurry.
_HURRY = timedelta(seconds=1)
#: What a task is taken to last before any was done, and which share of the walltime at most: what is tried in vain is
#: given back unharmed, and a worker that never tried would never know.
_UNKNOWN_PACE = timedelta(seconds=5)
_SHARE = 1 / 12
#: Seconds before the end of the walltime in which is said what became of what was in hand.
_LAST_WORDS = 0.5
#: What is at work near the end of the walltime is given so long at least, in seconds.
_LEAST_GRACE = 0.1
_T = TypeVar("_T")


class FarSettings(Struct, frozen=True, kw_only=True):
    """What a far worker is asked to do."""

    url: str
    token: str = ""
    #: ``stage`` or ``pipeline.stage``; empty means all that can be served here.
    stages: Sequence[str] = ()
    implementations: Sequence[str] = ()
    parallel: int = 1
    #: End after so long; None means that nobody set a limit.
    walltime: timedelta | None = None
    max_bytes_in_flight: int | None = None
    max_records: int | None = None
    #: End once nothing was to do for so long.
    idle_exit: timedelta | None = None
    #: What is in hand is given so long to be finished when it is to stop; the rest is given back.
    grace: timedelta = timedelta(seconds=30)
    device: str | None = None
    name: str | None = None


class _HelloAnswer(Struct, frozen=True):
    heartbeat_s: float
    lease_s: float
    max_body_bytes: int
    told: list[Told] = []


class _BeatAnswer(Struct, frozen=True):
    cancelled: list[int]
    drain: bool


class FarWorker:
    """One worker process; it opens outbound connections only, and listens on nothing."""

    def __init__(
        self,
        project: Project,
        settings: FarSettings,
        *,
        say: Callable[[str], None],
        clock: Clock | None = None,
        age: timedelta = timedelta(),
    ) -> None:
        """
        *project* is where inferrers are found here; *say* is told what a person should know.

        So much of the walltime has passed as *age* says.
        """
        self.name = settings.name or worker_name()
        self._settings = settings
        self._project = project
        self._say = say
        self._clock = clock or SystemClock()
        self._client = connect_server(settings.url, token=settings.token or None, worker=self.name)
        self._artifacts = connect_far_artifacts(self._client, copies=project.home / "worker" / "artifacts")
        limit = settings.walltime
        #: When the walltime is over, on the monotonic clock.
        self._ends = None if limit is None else time.monotonic() + (limit - age).total_seconds()
        #: Set: stop as soon as what is in hand is finished.
        self.stopping = threading.Event()
        self._grace = settings.grace
        self._failed: LimnerError | None = None
        self._lease = timedelta(seconds=60)
        self._heartbeat = timedelta(seconds=15)
        self._reasons = Reasons(say, clock=self._clock)
        self._hello_again = threading.Event()
        self._serves: dict[str, Served] = {}

    def run(self) -> None:
        """
        Work until there is a reason to stop, then finish or give back what is in hand.

        Raises:
            UsageError: nothing of what is wanted can be served here, or the server refuses.
        """
        try:
            answer = self._introduce()
            if answer is None:
                return
            fetcher = self._fetcher()
            bus = self._bus(answer)
            worker = self._worker = self._made(bus, fetcher)
            if not self._too_late(worker):
                worker.start()
            beats = threading.Thread(target=self._beat, name="heartbeats", daemon=True)
            beats.start()
            why = self._until_over(worker)
            self._say(f"Stopping: {why}.")
            self._finish(worker, bus, fetcher)
        finally:
            self._client.close()
        if self._failed is not None:
            raise self._failed

    def hurry(self) -> None:
        """Stop at once: what is in hand is given back, finished or not."""
        self._grace = min(self._grace, _HURRY)
        self.stopping.set()

    # What it says of itself

    def _introduce(self) -> _HelloAnswer | None:
        """Learn what is wanted, look what can be served here, and say hello; None when it is to stop before."""
        offer = self._patiently(self._look)
        if offer is None:
            return None
        for problem in offer.problems:
            self._say(problem)
        if not offer.serves:
            raise UsageError("Nothing of what the server wants can be served here; the lines above say why.")
        self._serves = dict(offer.serves)
        answer = self._patiently(self._hello)
        if answer is not None:
            self._say(f"Worker {self.name} serves {', '.join(self._serves)} of {self._client.url}.")
            self._reasons.hear(answer.told)
        return answer

    def _look(self) -> Offer:
        """What of all that is wanted can be served here."""
        asked = self._settings
        return look(self._client, self._project, stages=asked.stages, implementations=asked.implementations)

    def _hello(self) -> _HelloAnswer:
        hello = Hello(
            worker_id=self.name,
            hostname=platform.node(),
            software="limner",
            version=__version__,
            platform=platform.platform(),
            gpu=gpu().name,
            slurm_job_id=os.environ.get("SLURM_JOB_ID"),
            serves=list(self._serves.values()),
        )
        answer = self._client.tell("workers:hello", hello, type=_HelloAnswer)
        self._lease = timedelta(seconds=answer.lease_s)
        self._heartbeat = timedelta(seconds=answer.heartbeat_s)
        return answer

    # Its parts

    def _fetcher(self) -> Fetcher:
        settings = self._project.settings
        roots = [self._project.folder, *(self._project.path(root) for root in settings.file_roots)]
        return Fetcher(
            cache_of(self._project, clock=self._clock),
            # Behind a firewall the proxy is the only way to a picture, too.
            guard=AddressGuard(allow_hosts=settings.allow_hosts, file_roots=roots, proxy=environment_proxy),
            clock=self._clock,
            artifacts=self._artifacts,
            resolvers=resolvers_of(Declared(self._project)),
            at_once=settings.per_host,
            rate=settings.per_host_rate or None,
            connect=timedelta(seconds=settings.connect_timeout),
            total=timedelta(seconds=settings.fetch_timeout),
            max_bytes_in_flight=self._settings.max_bytes_in_flight or settings.max_bytes_in_flight,
        )

    def _bus(self, answer: _HelloAnswer) -> Bus:
        return connect_far_bus(
            self._client,
            worker=self.name,
            serves=lambda: [(served.stage, served.implementation) for served in self._serves.values()],
            max_body_bytes=answer.max_body_bytes,
            max_bytes=self._settings.max_bytes_in_flight,
            max_records=self._most_records,
            cancelled=lambda tasks: self._worker.drop(tasks),
            told=self._reasons.hear,
        )

    def _made(self, bus: Bus, fetcher: Fetcher) -> Worker:
        settings = self._project.settings
        return Worker(
            bus,
            fetcher=fetcher,
            artifacts=self._artifacts,
            project=self._project.folder,
            name=self.name,
            clock=self._clock,
            topics=list(self._serves),
            parallel=self._settings.parallel,
            cache=self._project.home / "worker",
            device=self._settings.device,
            allow_hosts=settings.allow_hosts,
            log=self._log_file(),
            wait=_POLL if self._settings.walltime is None else min(_POLL, _SHARE * self._settings.walltime),
            max_value_bytes=settings.max_value_bytes,
            max_growth=settings.max_growth_mb * 1_000_000 or None,
        )

    def _log_file(self) -> Path:
        file = self._project.home / "inferrers.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _most_records(self, topic: str) -> int | None:
        """No more records than are done in half a lease, so that none waits here until its lease is over."""
        bounds = [self._settings.max_records] if self._settings.max_records else []
        slow = percentile(sorted(seconds / records for records, seconds in self._worker.paces(topic)), 0.95)
        if slow:
            bounds.append(max(1, int(self._lease.total_seconds() / 2 / slow)))
        return min(bounds, default=None)

    # While it works

    def _until_over(self, worker: Worker) -> str:
        """Wait for a reason to stop; which one it is."""
        idle = self._settings.idle_exit
        while not self.stopping.wait(_LOOK):
            if self._failed is not None:
                return "the server refuses this worker"
            if self._too_late(worker):
                return "the walltime is nearly over"
            if idle is not None and worker.idle_for() >= idle:
                return f"nothing was to do for {idle.total_seconds():g} s"
            if self._hello_again.is_set() or self._reasons.look_again():
                self._hello_again.clear()
                self._renew(worker)
        return "it was asked to"

    def _too_late(self, worker: Worker) -> bool:
        """Whether a task that is taken now may not be done in time: less is left than twice the p95 of a task."""
        walltime, left = self._settings.walltime, self._left()
        if walltime is None or left is None:
            return False
        p95 = percentile(sorted(seconds for _, seconds in worker.paces()), 0.95)
        return left < 2 * (min(_UNKNOWN_PACE, _SHARE * walltime).total_seconds() if p95 is None else p95)

    def _left(self) -> float | None:
        """Seconds until the walltime is over; None without one."""
        return None if self._ends is None else self._ends - time.monotonic()

    def _finish(self, worker: Worker, bus: Bus, fetcher: Fetcher) -> None:
        """Take no more, finish what is in hand as far as there is time, and give the rest back."""
        worker.take_no_more()
        grace = self._grace.total_seconds()
        while (left := self._left()) is not None and left > grace and worker.held():
            # Near the end of the walltime what is in hand is finished; the grace is for what is not.
            if self.stopping.wait(_LOOK):
                break
        if left is not None:
            grace = max(_LEAST_GRACE, min(grace, left - _LAST_WORDS))
        worker.stop(timedelta(seconds=grace))
        if not bus.flush(timedelta(seconds=max(grace, _LAST_WORDS))):
            _log.warning("answers_left", worker=self.name)
        bus.close()
        fetcher.close()

    def _beat(self) -> None:
        """Say again and again that it lives, and hear what it is told."""
        pause = _FIRST_BEAT
        while not self._client.over.wait(pause.total_seconds()):
            pause = self._heartbeat
            beat = Beat(
                worker_id=self.name,
                ready=self._worker.ready(),
                busy=self._worker.held(),
                done_records=self._worker.done(),
                rss_bytes=memory_of(),
                gpu_bytes=gpu().used_bytes,
            )
            try:
                answer = self._client.tell("workers:heartbeat", beat, type=_BeatAnswer, patience=self._heartbeat)
            except ServerUnavailable as error:
                _log.warning("server_unavailable", reason=str(error))
            except ServerRefused as refused:
                self._refused(refused)
            else:
                self._worker.drop(answer.cancelled)
                if answer.drain:
                    self._say("The server asks it to drain.")
                    self.stopping.set()

    def _refused(self, refused: ServerRefused) -> None:
        if refused.status == 404:
            # The server forgot it, or its store is another one.
            self._hello_again.set()
        elif refused.status in (401, 403):
            self._failed = UsageError(str(refused))
        else:
            _log.error("server_refused", reason=str(refused))

    def _renew(self, worker: Worker) -> None:
        """Look again what is wanted and what can be served here, and say so."""
        try:
            self._serves |= self._look().serves
            answer = self._hello()
        except (ServerUnavailable, UsageError) as error:
            _log.warning("hello_failed", reason=str(error))
        except ServerRefused as refused:
            self._refused(refused)
        else:
            for address in self._serves:
                worker.serve(address)
            if not answer.told:
                self._reasons.forget()

    def _patiently(self, call: Callable[[], _T]) -> _T | None:
        """What *call* returns; while the server cannot be reached it is called again, until it is to stop."""
        pause, longest = _AGAIN
        while (left := self._left()) is None or left > _LAST_WORDS:
            try:
                return call()
            except ServerUnavailable as error:
                self._say(f"Waiting for the server: {error}")
            except ServerRefused as refused:
                raise UsageError(str(refused)) from refused
            if self.stopping.wait(min(pause, left or pause)):
                return None
            pause = min(longest, 2 * pause)
        self._say("Stopping: the walltime is nearly over.")
        return None
