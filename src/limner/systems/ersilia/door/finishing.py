"""Watches the jobs that were made on request, and publishes each as soon as it has ended."""

import threading
from collections.abc import Callable, Sequence

import structlog
from msgspec import structs

from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.domain.jobs import Job
from limner.errors import LimnerError, NotFound
from limner.systems.ersilia.door.on_request import note_published, publish, wish_of
from limner.systems.ersilia.door.request_folder import Kind, Requests, UploadRequest
from limner.systems.ersilia.door.tables import Tables
from limner.systems.ersilia.door.whole import pages_of
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
        self._whole: set[tuple[str, str]] = set()
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

    def answer_whole(self, host: Host, request: UploadRequest) -> None:
        """Write what is stored of a model into the files of *request*."""
        with self._lock:
            self._whole.add((host.name, request.id))

    def _run(self) -> None:
        looked: set[str] = set()
        while not self._stopping.wait(_LOOK):
            for name in self._projects.names():
                if name not in looked and self._safely(self._find, name):
                    looked.add(name)
            self._through(self._watched, self._finish)
            self._through(self._whole, self._write_whole)

    def _through(self, waiting: set[tuple[str, str]], do: Callable[[str, str], bool]) -> None:
        """Do each that waits; what is done with waits no more."""
        with self._lock:
            found = sorted(waiting)
        for name, identity in found:
            if self._safely(do, name, identity):
                with self._lock:
                    waiting.discard((name, identity))

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
        for request in Requests(host).unanswered(Kind.ALL):
            self.answer_whole(host, request)
        return True

    def _write_whole(self, project: str, identity: str) -> bool:
        host = self._projects.host(project)
        requests = Requests(host)
        request = requests.get(identity)
        shelf = self._tables.shelf(host, request.model)
        if shelf is None or request.files is not None:
            return True
        columns = tuple(column.name for column in shelf.release.columns)
        with requests.answering(structs.replace(request, columns=columns)) as answering:
            for page in pages_of(self._tables.of(host), shelf, most=request.most):
                answering.take(page)
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
