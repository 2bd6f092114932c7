"""How a server takes jobs in: at once where they are small, else in the background, and on again after a restart."""

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import structlog
from msgspec import structs

from limner.app.lock import lives
from limner.app.preparing import PAGE, Preparing, Request, lists
from limner.app.receivers import check_receiver
from limner.app.submitting import OWN_NOTES, RECORD_LINES, CallbackAsk, Manifest, Submission, lines_of, pages_of
from limner.domain.jobs import Job, JobState
from limner.domain.records import RecordIn, SetAside
from limner.engine.views import check_choices
from limner.errors import LimnerError, StoreUnavailable, UsageError
from limner.store.callbacks import Callback
from limner.store.store import Transaction

if TYPE_CHECKING:
    from limner.app.hosting import Host

#: Rows that are taken in before the door answers; more are spooled and taken in behind its back.
AT_ONCE = 5_000
#: Bytes of a manifest at most.
_MANIFEST = 4_000_000_000
_CHUNK = 1 << 20
#: A manifest is fetched within this time, and asked for so often, with so many seconds between.
_FETCH = timedelta(minutes=30)
_PAUSES = (1.0, 5.0, 0.0)
#: Statuses that may pass.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_log = structlog.get_logger(__name__)


class Intaking:
    """Makes jobs and takes their records in."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self._stopping = threading.Event()
        #: Jobs that this process takes in now.
        self._in_hand: set[str] = set()

    def stop(self) -> None:
        """Fetch no more manifests; what was begun goes on with the next start."""
        self._stopping.set()

    def let_go(self) -> None:
        """Take nothing in any more: another process does."""
        self._in_hand.clear()

    def submit(self, ask: Submission) -> Job:
        """Make the job, see :meth:`limner.app.hosting.Host.submit`."""
        if ask.callback is not None:
            self._check_callback(ask.callback)
        if ask.manifest is not None:
            self._check_manifest(ask.manifest)
        if own := OWN_NOTES.intersection(ask.detail):
            raise UsageError(f"A job's detail may not be named {', '.join(sorted(own))}: these are Limner's own.")
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
            if not job.sealed:
                self._in_hand.add(job.id)
        if not job.sealed:
            self._begin(job, ask)
        return job

    def _check_manifest(self, manifest: Manifest) -> None:
        if manifest.sha256 is None and not manifest.url:
            raise UsageError("A manifest is named by its digest or by its address; here is neither.")
        if manifest.sha256 is not None and not self._host.app.artifacts.has(manifest.sha256):
            raise UsageError(f"There are no bytes with the digest {manifest.sha256}; hand the manifest in first.")

    def _check_callback(self, ask: CallbackAsk) -> None:
        host = self._host
        if ask.format not in host.callback_formats:
            known = ", ".join(sorted(host.callback_formats))
            raise UsageError(f"There is no callback format {ask.format}; known are: {known}")
        if ask.mode not in ("end", "stream"):
            raise UsageError(f"A callback's mode is end or stream, not {ask.mode}.")
        check_receiver(ask.url, ask.token, guard=host.app.guard())

    def go_on(self) -> None:
        """
        Go on with the jobs that nobody takes in any more.

        An earlier process was stopped meanwhile, one that only answers made them, or a command that is gone by now.
        """
        host = self._host
        with host.store.reading() as tx:
            left = [job for job in tx.jobs.open() if self._is_left(job)]
        for job in left:
            with host.lock:
                if job.id not in self._in_hand:
                    self._adopt(job)

    def end_impossible(self) -> None:
        """End the open jobs whose choices their pipeline, which was edited since, does not offer any more."""
        host = self._host
        with host.store.reading() as tx:
            jobs = [job for job in tx.jobs.open() if job.pipeline in host.pipelines]
        for job in jobs:
            try:
                check_choices(host.pipelines[job.pipeline], job.choices)
            except UsageError as error:
                self._refuse(job, str(error))

    def _is_left(self, job: Job) -> bool:
        """Whether a job is not known whole, and no living process sees to it."""
        process = job.detail.get("process")
        return (
            not job.sealed
            and job.pipeline in self._host.pipelines
            and job.id not in self._in_hand
            and not (isinstance(process, str) and lives(process))
        )

    def _adopt(self, job: Job) -> None:
        """Go on with one job, or say why that cannot be."""
        host = self._host
        self._in_hand.add(job.id)
        try:
            with host.store.transaction() as tx:
                host.serving.choose(tx, job.pipeline, job.choices)
                if "manifest" not in job.detail and "stored" not in job.detail:
                    tx.jobs.event(job.id, "interrupted", at=host.clock.now())
                    host.engine.desk.seal(tx, job.id, host.engine.scope(tx, job.pipeline, job.choices))
                    return
        except UsageError as error:
            self._refuse(job, str(error))
        else:
            named = job.detail.get("manifest")
            manifest = None if named is None else msgspec.convert(named, Manifest)
            stored = job.detail.get("stored") or {}
            self._begin(job, Submission(pipeline=job.pipeline, manifest=manifest, **stored))

    def _open(self, tx: Transaction, ask: Submission) -> Job:
        """The job's row, its callback and its idempotency key."""
        host = self._host
        host.serving.choose(tx, ask.pipeline, ask.choices)
        detail = dict(ask.detail)
        if ask.manifest is not None:
            detail["manifest"] = msgspec.to_builtins(ask.manifest)
        elif ask.rows is None:
            detail["stored"] = {"ids": None if ask.ids is None else list(ask.ids), "full": ask.full}
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

    def _begin(self, job: Job, ask: Submission) -> None:
        """Take a job in, in the background; a manifest behind an address is fetched first."""
        manifest = ask.manifest
        if not self._host.leads:
            # The process that runs the engine finds it within a second.
            self._in_hand.discard(job.id)
        elif manifest is None:
            self._host.do(partial(self._stored, job, ask))
        elif manifest.sha256 is not None:
            self._host.do(partial(self._read, job, manifest))
        else:
            name = f"manifest {job.id}"
            threading.Thread(target=self._fetch, args=(job, manifest), name=name, daemon=True).start()

    def _fetch(self, job: Job, manifest: Manifest) -> None:
        """Fetch a manifest into the artifacts, through the guard, then have it read."""
        host = self._host
        try:
            fetched = structs.replace(manifest, sha256=self._fetched(manifest.url or ""))
            if self._stopping.is_set():
                return
            with host.lock, host.store.transaction() as tx:
                now = tx.jobs.get(job.id)
                tx.jobs.replace(structs.replace(now, detail={**now.detail, "manifest": msgspec.to_builtins(fetched)}))
        except StoreUnavailable as error:
            _log.warning("manifest_waits", job=job.id, reason=str(error))
            self._in_hand.discard(job.id)
        except (LimnerError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self._give_up(job, f"The manifest {manifest.url} cannot be fetched: {error}")
        else:
            host.do(partial(self._read, job, fetched))

    def _give_up(self, job: Job, reason: str) -> None:
        """Refuse a job from a thread of its own; where the store is out of reach it is tried again."""
        if self._stopping.is_set():
            return
        try:
            self._refuse(job, reason)
        except StoreUnavailable as error:
            _log.warning("manifest_waits", job=job.id, reason=str(error))
            self._in_hand.discard(job.id)

    def _fetched(self, url: str) -> str:
        """The digest of the bytes behind *url*, which are among the artifacts now; what may pass is tried again."""
        for pause in _PAUSES:
            try:
                return self._download(url)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                passing = not isinstance(error, httpx.HTTPStatusError) or error.response.status_code in _PASSING
                if not passing or not pause or self._stopping.wait(pause):
                    raise
        raise AssertionError("the last pause is none")

    def _download(self, url: str) -> str:
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(prefix="limner-manifest-") as file:
            size = 0
            with self._host.app.guard().client(total=_FETCH) as client, client.stream("GET", url) as answer:
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
        """Take the rows of a manifest in, a page in each step, from where it was left."""
        yield from self._prepare(
            job, Request(pipeline=job.pipeline, choices=job.choices, priority=job.priority), manifest
        )

    def _stored(self, job: Job, ask: Submission) -> Iterator[None]:
        """Enter records that are stored already."""
        asked = Request(pipeline=job.pipeline, ids=ask.ids, full=ask.full, choices=job.choices, priority=job.priority)
        yield from self._prepare(job, asked)

    def _prepare(self, job: Job, request: Request, manifest: Manifest | None = None) -> Iterator[None]:
        """What comes before a job's work; whatever goes wrong with it ends the job, so that it never hangs."""
        try:
            if manifest is not None:
                request = structs.replace(request, pages=self._pages(job, manifest))
            yield from Preparing(self._host.engine).over(request, job)
        except StoreUnavailable:
            # It is begun anew, from where it was left.
            raise
        except LimnerError as error:
            self._refuse(job, str(error))
        except Exception as error:  # noqa: BLE001  a reader of rows may be anybody's code
            _log.exception("intake_broke", job=job.id)
            self._refuse(job, f"Its records cannot be taken in: {type(error).__name__}: {error}")
        self._in_hand.discard(job.id)

    def _pages(self, job: Job, manifest: Manifest) -> Iterator[list[RecordIn | SetAside]]:
        """The pages of a manifest that were not taken in yet."""
        with self._host.store.reading() as tx:
            taken = tx.jobs.get(job.id).taken
        file = self._host.app.artifacts.path(manifest.sha256 or "")
        return pages_of(file, reader=manifest.reader, page=PAGE, after=taken)

    def _refuse(self, job: Job, reason: str) -> None:
        """End a job that cannot be taken in as failed, and say why in its events."""
        host = self._host
        self._in_hand.discard(job.id)
        with host.lock, host.store.transaction() as tx:
            if not tx.jobs.get(job.id).state.ended:
                tx.jobs.event(job.id, "refused", at=host.clock.now(), detail={"reason": reason})
                host.engine.desk.stop(tx, job.id, host.engine.scopes(tx), state=JobState.FAILED)
