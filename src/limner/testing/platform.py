"""A platform over any bus, store and artifacts: a server in this process, and workers where its project wants them."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Self

from limner.app.far_worker import FarSettings, FarWorker
from limner.app.hosting import Host
from limner.app.submitting import Submission
from limner.bus.connect import is_broker
from limner.domain.jobs import Counts, Job
from limner.domain.records import ExportRow, RecordIn
from limner.settings import load_project
from limner.testing.local_server import LocalServer

#: Longer than anything takes on a machine that does much else, in seconds.
_LONG = 60.0


class Platform:
    """
    A project that is served and worked at; used with ``with``.

    *settings* name bus, store and artifacts. *far*: a worker with a folder of its own comes over the broker, or over
    HTTP where the bus is none; otherwise the server infers itself.
    """

    def __init__(
        self, folder: Path, *, files: Mapping[str, str], settings: Mapping[str, object], far: bool = False
    ) -> None:
        self.folder = folder
        self._settings = dict(settings)
        self._far = far
        self._server: LocalServer | None = None
        self._worker: FarWorker | None = None
        self._thread: threading.Thread | None = None
        for place in self._places():
            place.mkdir(parents=True)
        for name, text in files.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project, on the machine of the worker, too."""
        for place in self._places():
            # At once: an inferrer may be reading what stands there now.
            (place / f".{name}").write_text(text)
            (place / f".{name}").rename(place / name)

    def remove(self, name: str) -> None:
        """Remove what was written."""
        for place in self._places():
            (place / name).unlink()

    def __enter__(self) -> Self:
        """Serve and work until the block ends."""
        served = load_project(self.folder / "server", environment={}, options=self._settings)
        self._server = LocalServer(served, own_workers=not self._far).__enter__()
        if self._far:
            bus = str(self._settings.get("bus", ""))
            settings = FarSettings(url=bus if is_broker(bus) else self._server.url, name="far")
            project = load_project(self.folder / "worker", environment={}, options={"allow_hosts": ["127.0.0.1"]})
            self._worker = FarWorker(project, settings, say=_hear)
            self._thread = threading.Thread(target=self._worker.run, name="far worker", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop both; what is not done goes on when it is entered again."""
        if self._worker is not None and self._thread is not None:
            self._worker.hurry()
            self._thread.join(_LONG)
        if self._server is not None:
            self._server.__exit__(None, None, None)
        self._server = self._worker = self._thread = None

    @property
    def host(self) -> Host:
        """The project at work."""
        assert self._server is not None, "a platform is entered before it is asked"
        return self._server.host

    def submit(self, pipeline: str, rows: Sequence[RecordIn]) -> str:
        """A job over *rows*."""
        return self.host.submit(Submission(pipeline=pipeline, rows=rows)).id

    def job(self, job: str) -> Job:
        """A job as it stands."""
        with self.host.store.reading() as tx:
            return tx.jobs.get(job)

    def counts(self, job: str) -> Counts:
        """What became of a job's records by now."""
        with self.host.store.reading() as tx:
            return tx.ledger.counts(job)

    def ended(self, job: str) -> Counts:
        """What became of a job's records, once it has ended."""
        self.until(lambda: self.job(job).state.ended)
        return self.counts(job)

    def values(self, collection: str) -> list[ExportRow]:
        """The records of a collection, with what is known of them by stage."""
        return list(self.host.app.records(collection))

    def until(self, true: Callable[[], object]) -> None:
        """
        Return as soon as *true* is.

        Raises:
            TimeoutError: it never was.
        """
        ends = time.monotonic() + _LONG
        while not true():
            if time.monotonic() > ends:
                raise TimeoutError(f"What was waited for did not happen within {_LONG:g} s.")
            # The pace of asking, nothing more.
            time.sleep(0.02)

    def lose_a_task(self, topic: str) -> None:
        """Take a task of *topic*, and never say anything of it: so does a worker that is killed, or hangs."""
        taken = self.host.app.bus.take([topic], limit=1, wait=timedelta(seconds=_LONG))
        assert taken, f"there was no task of {topic} to be lost"

    def _places(self) -> list[Path]:
        """The folders of the server and of the worker, who share none."""
        return [self.folder / name for name in ("server", "worker")[: 1 + self._far]]


def _hear(_: str) -> None:
    return
