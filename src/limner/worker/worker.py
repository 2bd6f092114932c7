"""The worker: serves topics in threads of this process, answers on the bus, and knows no store."""

import tempfile
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import structlog

from limner.artifacts.base import Artifacts
from limner.bus.base import Bus
from limner.clock import Clock
from limner.domain.tasks import ANSWERS, FromWorker, Heartbeat, encode_message
from limner.errors import BusUnavailable
from limner.worker.fetch import Fetcher
from limner.worker.models import ModelFiles
from limner.worker.own_folder import SCRATCH, remove_the_dead
from limner.worker.prepared import Prepared
from limner.worker.report import Report
from limner.worker.service import Service
from limner.worker.slot import Place, Slot

_log = structlog.get_logger(__name__)

#: How often, in seconds, reports are looked at for outcomes that have waited, and leases for their age.
_TICK = 0.25
#: A task of which nothing was heard for twice its limit and so long, in seconds, is no longer said to be held: what it
#: hangs on is unknown, its lease runs out, and somebody else is given it.
_PATIENCE = 600.0
#: A lease is moved when this share of it has passed.
_SHARE = 1 / 3
#: First and longest wait before a message is sent again that the bus did not take, in seconds.
_AGAIN = (0.1, 5.0)


class Worker:
    """
    Takes tasks of the topics that it serves, infers, and answers.

    Bus, fetcher and artifacts are the caller's, who closes them after :meth:`stop`. Each topic has a thread that takes
    tasks and up to *parallel* slots, each with an inferrer in a child process of its own. It never touches the store.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        fetcher: Fetcher,
        artifacts: Artifacts,
        project: Path,
        name: str,
        clock: Clock,
        topics: Iterable[str] = (),
        parallel: int = 1,
        cache: Path | None = None,
        device: str | None = None,
        allow_hosts: Iterable[str] = (),
        log: Path | None = None,
        wait: timedelta = timedelta(seconds=1),
        max_value_bytes: int = 8_000_000,
        max_growth: int | None = None,
    ) -> None:
        """
        Serve *topics*, the addresses of implementations, from :meth:`start` on.

        *cache* holds links to models, by default under ``.limner/cache`` of the *project*. *wait* is how long one
        question for tasks may take, and so how long :meth:`stop` may. A record whose value has more than
        *max_value_bytes* fails; a child process that grew by more than *max_growth* bytes is replaced between batches.
        """
        self.name = name
        self._bus = bus
        self._fetcher = fetcher
        self._artifacts = artifacts
        self._clock = clock
        self._parallel = parallel
        self._wait = wait
        project = project.resolve()
        folder = (cache or project / ".limner" / "cache").resolve() / "models"
        self._models = ModelFiles(artifacts, folder=folder)
        self._place = Place(
            project=project,
            device=device,
            allow_hosts=tuple(allow_hosts),
            log=log,
            max_value_bytes=max_value_bytes,
            max_growth=max_growth,
        )
        self._services: dict[str, Service] = {topic: self._service(topic) for topic in topics}
        self._lock = threading.Lock()
        self._started = False
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="worker ticks", daemon=True)

    @property
    def topics(self) -> list[str]:
        """The topics that it serves."""
        with self._lock:
            return list(self._services)

    def start(self) -> None:
        """Begin; returns at once. What a killed worker's children left in the folder for temporary files is removed."""
        remove_the_dead(Path(tempfile.gettempdir()), prefix=SCRATCH)
        with self._lock:
            self._started = True
            for service in self._services.values():
                service.start()
        self._ticker.start()

    def serve(self, topic: str) -> None:
        """Serve *topic* too from now on; one that it serves already is passed over."""
        with self._lock:
            if topic in self._services:
                return
            service = self._services[topic] = self._service(topic)
            if self._started:
                service.start()

    def slots(self, topic: str) -> int:
        """How many inferrers of *topic* are kept ready or at work."""
        return self._services[topic].slots()

    def idle_for(self) -> timedelta:
        """How long it has held no task."""
        services = self._all()
        if any(service.held() for service in services):
            return timedelta()
        latest = max((service.last_busy for service in services), default=time.monotonic())
        return timedelta(seconds=time.monotonic() - latest)

    def held(self) -> list[int]:
        """The tasks that it holds."""
        return [held.prepared.task.id for service in self._all() for held in service.held()]

    def ready(self) -> dict[str, bool]:
        """By topic: whether the last task could be run."""
        with self._lock:
            return {topic: service.ready for topic, service in self._services.items()}

    def done(self) -> int:
        """Records that it answered."""
        return sum(service.done for service in self._all())

    def paces(self, topic: str | None = None) -> list[tuple[int, float]]:
        """Records and seconds of the last tasks that it did, of one topic if asked."""
        with self._lock:
            chosen = [service for name, service in self._services.items() if topic in (None, name)]
        return [pace for service in chosen for pace in service.paces]

    def drop(self, tasks: Iterable[int]) -> None:
        """Forget *tasks*, which nobody waits for any more: nothing more is said of them."""
        gone = set(tasks)
        for service in self._all():
            service.drop(gone)

    def take_no_more(self) -> None:
        """Go on with what is in hand, and take nothing more."""
        for service in self._all():
            service.take_no_more()

    def stop(self, grace: timedelta = timedelta(seconds=10)) -> None:
        """
        Finish the batches in hand within *grace*, answer them, give the rest back, and end every thread and process.

        A batch that takes longer is ended, and its records are given back unharmed; one in a thread cannot be ended,
        and is waited for.
        """
        ends = time.monotonic() + grace.total_seconds()
        with self._lock:
            started, self._started = self._started, False
        if not started:
            return
        # A bus that cannot be reached is not waited for any longer than a batch.
        enough = threading.Timer(grace.total_seconds(), self._over.set)
        enough.start()
        services = self._all()
        for service in services:
            service.stop()
        for service in services:
            service.join(ends=ends)
        enough.cancel()
        self._over.set()
        self._ticker.join(_TICK * 40)

    def _all(self) -> list[Service]:
        with self._lock:
            return list(self._services.values())

    def _service(self, topic: str) -> Service:
        return Service(
            topic,
            bus=self._bus,
            fetcher=self._fetcher,
            new_slot=lambda: Slot(self._place, artifacts=self._artifacts, models=self._models),
            new_report=self._report,
            parallel=self._parallel,
            wait=self._wait,
        )

    def _report(self, prepared: Prepared) -> Report:
        return Report(prepared.task, worker=self.name, send=self._send, clock=self._clock, hold=prepared.hold)

    def _send(self, message: FromWorker) -> None:
        """Publish *message*, again and again while the bus cannot be reached, until the worker is over."""
        body = encode_message(message)
        pause, longest = _AGAIN
        while True:
            try:
                self._bus.publish(ANSWERS, [body])
            except BusUnavailable as error:
                _log.warning("bus_unavailable", topic=ANSWERS, reason=str(error))
                if self._over.wait(pause):
                    # The store finds that the records are still owed.
                    return
                pause = min(longest, 2 * pause)
            else:
                return

    def _tick(self) -> None:
        """Send outcomes that have waited, and move leases."""
        beats: dict[int, float] = {}
        while not self._over.wait(_TICK):
            try:
                beats = self._beat(beats)
            except Exception:  # noqa: BLE001  a worker that no longer ticks would lose its leases in silence
                _log.exception("tick_broke", worker=self.name)

    def _beat(self, beats: dict[int, float]) -> dict[int, float]:
        """Tick every report, and say that every task is held when one lease is due; when each task was last named."""
        now = time.monotonic()
        reports = [
            held.report for service in self._all() for held in service.held() if not _hangs(held.report, now=now)
        ]
        due = False
        named: dict[int, float] = {}
        for report in reports:
            report.tick()
            named[id(report)] = beats.get(id(report), now)
            due = due or now - named[id(report)] >= report.task.lease * _SHARE
        if due:
            self._send(Heartbeat(worker=self.name, tasks=[report.task.id for report in reports]))
            named = dict.fromkeys(named, now)
        return named


def _hangs(report: Report, *, now: float) -> bool:
    """Whether a task was begun, and nothing was heard of it for very long."""
    limit = _PATIENCE + 2 * report.task.runtime.timeout.total_seconds()
    return report.moved is not None and now - report.moved > limit
