"""How a server takes jobs in: at once where they are small, else in the background, and on again after a restart."""

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import structlog
from msgspec import structs

from limner.app.preparing import PAGE, Preparing, Request, lists
from limner.app.receivers import check_receiver
from limner.app.submitting import RECORD_LINES, CallbackAsk, Manifest, Submission, lines_of, pages_of
from limner.domain.jobs import Job, JobState
from limner.domain.records import RecordIn, SetAside
from limner.errors import LimnerError, UsageError
from limner.store.callbacks import Callback
from limner.store.store import Transaction

if TYPE_CHECKING:
    from limner.app.hosting import Host

#: Rows that are taken in before the door answers; more are spooled and taken in behind its back.
AT_ONCE = 5_000
#: Bytes of a manifest at most.
_MANIFEST = 4_000_000_000
_CHUNK = 1 << 20
_log = structlog.get_logger(__name__)


class Intaking:
    """Makes jobs and takes their records in."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self._stopping = threading.Event()
        self._fetching: list[threading.Thread] = []

    def stop(self) -> None:
        """Fetch no more manifests; what was begun goes on with the next start."""
        self._stopping.set()

    def submit(self, ask: Submission) -> Job:
        """Make the job, see :meth:`limner.app.hosting.Host.submit`."""
        if ask.callback is not None:
            self._check_callback(ask.callback)
        aside: list[SetAside] = []
        if ask.rows is not None and len(ask.rows) > AT_ONCE:
            aside = [row for row in ask.rows if isinstance(row, SetAside)]
            ask = structs.replace(ask, rows=None, manifest=self._spooled(ask.rows))
        host = self._host
        with host.lock, host.store.transaction() as tx:
            if ask.key is not None:
                before = tx.idempotency.find(ask.key.key, request=ask.key.request)
                if before is not None:
                    return tx.jobs.get(before)
            job = self._open(tx, ask)
            tx.jobs.set_aside(job.id, aside)
            if ask.rows is not None:
                self._take(tx, ask, job)
            job = tx.jobs.get(job.id)
        if ask.manifest is not None:
            self._begin(job, ask.manifest)
        elif ask.rows is None:
            host.do(partial(self._stored, job, ask))
        return job

    def _check_callback(self, ask: CallbackAsk) -> None:
        host = self._host
        if ask.format not in host.callback_formats:
            known = ", ".join(sorted(host.callback_formats))
            raise UsageError(f"There is no callback format {ask.format}; known are: {known}")
        if ask.mode not in ("end", "stream"):
            raise UsageError(f"A callback's mode is end or stream, not {ask.mode}.")
        check_receiver(ask.url, ask.token, guard=host.app.guard())

    def go_on(self) -> None:
        """Go on with the jobs that an earlier process had not taken in whole."""
        host = self._host
        with host.lock, host.store.transaction() as tx:
            unsealed = [job for job in tx.jobs.open() if not job.sealed and job.pipeline in host.pipelines]
            for job in unsealed:
                host.serving.choose(tx, job.pipeline, job.choices)
                if "manifest" not in job.detail and "stored" not in job.detail:
                    tx.jobs.event(job.id, "interrupted", at=host.clock.now())
                    host.engine.desk.seal(tx, job.id, host.engine.scope(tx, job.pipeline, job.choices))
        for job in unsealed:
            if "manifest" in job.detail:
                self._begin(job, msgspec.convert(job.detail["manifest"], Manifest))
            elif "stored" in job.detail:
                host.do(partial(self._stored, job, Submission(pipeline=job.pipeline, ids=job.detail["stored"])))

    def _open(self, tx: Transaction, ask: Submission) -> Job:
        """The job's row, its callback and its idempotency key."""
        host = self._host
        host.serving.choose(tx, ask.pipeline, ask.choices)
        detail = dict(ask.detail)
        if ask.manifest is not None:
            detail["manifest"] = msgspec.to_builtins(ask.manifest)
        elif ask.rows is None:
            detail["stored"] = None if ask.ids is None else list(ask.ids)
        job = host.engine.desk.open(
            tx,
            ask.pipeline,
            choices=ask.choices,
            priority=ask.priority,
            expires_in=ask.expires_in,
            fail_threshold=ask.fail_threshold,
            detail=detail,
        )
        if ask.callback is not None:
            tx.callbacks.add(
                Callback(
                    job=job.id,
                    url=ask.callback.url,
                    token=host.key.seal(ask.callback.token),
                    mode=ask.callback.mode,
                    format=ask.callback.format,
                )
            )
        if ask.key is not None:
            tx.idempotency.claim(ask.key.key, request=ask.key.request, job=job.id, at=host.clock.now())
        return job

    def _take(self, tx: Transaction, ask: Submission, job: Job) -> None:
        """Take rows in that came with the request, and seal the job."""
        engine, rows = self._host.engine, ask.rows or ()
        if not rows:
            raise UsageError("There are no records in the request.")
        for start in range(0, len(rows), PAGE):
            mine = engine.scope(tx, ask.pipeline, lists(ask.choices))
            page = rows[start : start + PAGE]
            taken = engine.intake.take(tx, engine.scopes(tx), mine, job.id, page, priority=ask.priority)
            tx.jobs.grow(job.id, reused=taken.reused)
        engine.desk.seal(tx, job.id, engine.scope(tx, ask.pipeline, lists(ask.choices)))

    def _spooled(self, rows: Sequence[RecordIn | SetAside]) -> Manifest:
        """The records among *rows* as a manifest among the artifacts."""
        lines = lines_of(row for row in rows if isinstance(row, RecordIn))
        return Manifest(sha256=self._host.app.artifacts.put(b"".join(lines)), reader=RECORD_LINES)

    def _begin(self, job: Job, manifest: Manifest) -> None:
        """Read a manifest in the background; one behind an address is fetched first."""
        if manifest.sha256 is not None:
            self._host.do(partial(self._read, job, manifest))
            return
        thread = threading.Thread(target=self._fetch, args=(job, manifest), name=f"manifest {job.id}", daemon=True)
        self._fetching.append(thread)
        thread.start()

    def _fetch(self, job: Job, manifest: Manifest) -> None:
        """Fetch a manifest into the artifacts, through the guard, then have it read."""
        host = self._host
        try:
            sha256 = self._download(manifest.url or "")
        except (LimnerError, httpx.HTTPError, OSError) as error:
            if not self._stopping.is_set():
                self._refuse(job, f"The manifest {manifest.url} cannot be fetched: {error}")
            return
        fetched = structs.replace(manifest, sha256=sha256)
        with host.lock, host.store.transaction() as tx:
            now = tx.jobs.get(job.id)
            tx.jobs.replace(structs.replace(now, detail={**now.detail, "manifest": msgspec.to_builtins(fetched)}))
        host.do(partial(self._read, job, fetched))

    def _download(self, url: str) -> str:
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(prefix="limner-manifest-") as file:
            size = 0
            with self._host.app.guard().client() as client, client.stream("GET", url) as answer:
                answer.raise_for_status()
                for chunk in answer.iter_bytes(_CHUNK):
                    size += len(chunk)
                    if size > _MANIFEST:
                        raise UsageError(f"It has more than {_MANIFEST:,} bytes.")
                    digest.update(chunk)
                    file.write(chunk)
            file.flush()
            return self._host.app.artifacts.put_file(Path(file.name))

    def _read(self, job: Job, manifest: Manifest) -> Iterator[None]:
        """Take the rows of a manifest in, a page in each step."""
        assert manifest.sha256 is not None
        file = self._host.app.artifacts.path(manifest.sha256)
        pages = pages_of(file, reader=manifest.reader, page=PAGE)
        asked = Request(pipeline=job.pipeline, pages=pages, choices=job.choices, priority=job.priority)
        yield from self._prepare(job, asked)

    def _stored(self, job: Job, ask: Submission) -> Iterator[None]:
        """Enter records that are stored already."""
        asked = Request(pipeline=job.pipeline, ids=ask.ids, full=ask.full, choices=job.choices, priority=job.priority)
        yield from self._prepare(job, asked)

    def _prepare(self, job: Job, request: Request) -> Iterator[None]:
        """What comes before a job's work; a job that has no records, or ended meanwhile, is let be."""
        try:
            for _ in Preparing(self._host.engine).over(request, job):
                if self._ended(job):
                    return
                yield
        except UsageError as error:
            self._refuse(job, str(error))

    def _ended(self, job: Job) -> bool:
        with self._host.store.reading() as tx:
            return tx.jobs.get(job.id).state.ended

    def _refuse(self, job: Job, reason: str) -> None:
        """End a job that cannot be taken in as failed, and say why in its events."""
        host = self._host
        with host.lock, host.store.transaction() as tx:
            if not tx.jobs.get(job.id).state.ended:
                tx.jobs.event(job.id, "refused", at=host.clock.now(), detail={"reason": reason})
                host.engine.desk.stop(tx, job.id, host.engine.scopes(tx), state=JobState.FAILED)
