"""Watches the jobs that were made on request, and publishes each as soon as it has ended."""

import threading
from collections.abc import Callable, Sequence

import structlog

from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.domain.jobs import Job
from limner.errors import LimnerError, NotFound
from limner.systems.ersilia.door.on_request import note_published, publish, wish_of
from limner.systems.ersilia.door.request_folder import Requests
from limner.systems.ersilia.door.tables import Tables
from limner.systems.ersilia.precalc.nouns import PublishRow

#: Seconds between two looks; jobs of an earlier process that are looked through when it begins.
_LOOK, _EARLIER = 0.2, 500
_log = structlog.get_logger(__name__)


class Finishing:
    """A thread that outlives no server; what it left undone it finds again when it begins."""

    def __init__(self, projects: Projects, tables: Tables) -> None:
        self._projects = projects
        self._tables = tables
        self._watched: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with what an earlier process left."""
        self._thread = threading.Thread(target=self._run, name="on request", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what is in hand."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def watch(self, host: Host, job: Job) -> None:
        """Publish *job* once it has ended."""
        with self._lock:
            self._watched.add((host.name, job.id))

    def _run(self) -> None:
        looked: set[str] = set()
        while not self._stopping.wait(_LOOK):
            for name in self._projects.names():
                if name not in looked and self._safely(self._find, name):
                    looked.add(name)
            with self._lock:
                watched = sorted(self._watched)
            for name, job in watched:
                if self._safely(self._finish, name, job):
                    with self._lock:
                        self._watched.discard((name, job))

    def _safely(self, do: Callable[..., bool], *words: str) -> bool:
        """Whether *do* is done with; what goes wrong is tried again, unless it is no use."""
        try:
            return do(*words)
        except NotFound:
            return True
        except LimnerError as error:
            _log.warning("publishing_waits", of=words, reason=str(error))
            return False
        except Exception:  # noqa: BLE001  the others go on
            _log.exception("publishing_broke", of=words)
            return True

    def _find(self, project: str) -> bool:
        host = self._projects.host(project)
        with host.store.reading() as tx:
            jobs = tx.jobs.listing(limit=_EARLIER)
        for job in jobs:
            wish = wish_of(job)
            if wish is not None and not wish.published:
                self.watch(host, job)
        return True

    def _finish(self, project: str, identity: str) -> bool:
        host = self._projects.host(project)
        with host.store.reading() as tx:
            job = tx.jobs.get(identity)
        wish = wish_of(job)
        if wish is None or wish.published:
            return True
        if not job.state.ended:
            return False
        table = self._tables.of(host)
        if not wish.request:
            publish(host, table, job, also=_nobody)
        else:
            requests = Requests(host)
            with requests.answering(requests.get(wish.request)) as answering:
                publish(host, table, job, also=answering.take)
        note_published(host, job)
        return True


def _nobody(_: Sequence[PublishRow]) -> None:
    return
