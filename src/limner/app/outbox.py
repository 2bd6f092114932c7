"""The outbox: callbacks are written to the store when a job ends, and sent from there until they are accepted."""

import random
import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

import httpx
import structlog
from msgspec import Struct

from limner import __version__
from limner.addresses import AddressGuard, parse
from limner.app.callback_body import Hosting
from limner.app.callback_pages import LIMNER, Format, pages_of, sent_body
from limner.app.receivers import GONE, receiver_of, refusal_of, sendable
from limner.app.secrets import ServerKey
from limner.app.signing import secret_bytes, signature
from limner.domain.failures import FailureCode
from limner.domain.jobs import Job
from limner.errors import AddressRefused, IllegalMove, LimnerError, NotFound, UsageError
from limner.store.callbacks import Callback, Page, PageState, Standing, Try, Unreported
from limner.store.store import Transaction

#: Waits before the second and each later try of a page.
DELAYS = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
)
#: Largest part by which a wait is drawn out, so that what failed together is not tried again together.
_JITTER = 0.1
#: Receivers that are served at the same time.
_LANES = 16
#: Bytes of an answer that are read at most; nothing in them counts.
_ANSWER = 65_536
#: Between two page sets of a callback in stream mode.
_STREAMED_EVERY = timedelta(seconds=10)
#: Before a body that could not be made is tried again.
_AFTER_TROUBLE = timedelta(seconds=60)
#: Added to the time limit of a call, before a page whose sender says nothing is taken for unsent.
_GRACE = timedelta(seconds=15)

_log = structlog.get_logger()


class _Due(Struct, frozen=True, kw_only=True):
    """What is to be written into the outbox for one job."""

    callback: Callback
    job: Job
    keys: Sequence[int]
    unreported: Sequence[Unreported]


class Outbox:
    """Writes and sends the callbacks of one project."""

    def __init__(
        self,
        host: Hosting,
        *,
        key: ServerKey,
        formats: Mapping[str, Format] | None = None,
        stream_every: timedelta = _STREAMED_EVERY,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        settings = host.app.settings
        self._host = host
        self._key = key
        self._formats = {"limner": LIMNER, **(formats or {})}
        self._max_bytes = settings.callback_max_bytes
        self._timeout = timedelta(seconds=settings.callback_timeout)
        self._secret = secret_bytes(settings.webhook_secret) if settings.webhook_secret else None
        self._stream_every = stream_every
        self._jitter = jitter
        self._guard = AddressGuard(allow_hosts=settings.allow_hosts)
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()
        #: Threads at work, by the receiver that they serve; the one that writes pages serves "".
        self._lanes: dict[str, threading.Thread] = {}
        #: When a job was last looked at for its stream, or is to be looked at again after trouble.
        self._looked: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._stopping = False

    def tick(self, now: float) -> bool:
        """
        Begin what is due, in threads of their own: whether anything began.

        Cheap where nothing is due; to be called about once a second.
        """
        with self._lock:
            busy = {host for host, thread in self._lanes.items() if thread.is_alive()}
            self._lanes = {host: self._lanes[host] for host in busy}
        if self._stopping:
            return False
        with self._host.store.reading() as tx:
            ended = [] if "" in busy else tx.callbacks.due()
            streaming = [] if "" in busy else tx.callbacks.streaming()
            hosts = tx.deliveries.hosts_due(now=now, but=busy, limit=max(0, _LANES - len(busy)))
        jobs = [job for job in [*ended, *self._to_stream(streaming, now)] if self._not_before.get(job, now) <= now]
        if jobs:
            self._begin("", partial(self._write, jobs))
        for host in hosts:
            self._begin(host, partial(self._serve, host))
        return bool(jobs or hosts)

    def wait(self, timeout: timedelta) -> bool:
        """Wait until all that was begun has ended; whether it has, within *timeout*."""
        ends = time.monotonic() + timeout.total_seconds()
        with self._lock:
            threads = list(self._lanes.values())
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def stop(self, grace: timedelta) -> None:
        """Begin nothing more, and wait for what is out; what is not answered by then is sent again by the next."""
        self._stopping = True
        self.wait(grace)
        if self._client is not None:
            self._client.close()

    def redeliver(self, job: str) -> int:
        """
        Make every page of the callback of a job due at once, with its body and id as they were; how many pages.

        Raises:
            NotFound: there is no such job.
            UsageError: it asked for no callback.
            IllegalMove: nothing of it is in the outbox yet.
        """
        now = self._host.clock.now()
        with self._host.store.transaction() as tx:
            found = tx.jobs.get(job)
            if tx.callbacks.find(job) is None:
                raise UsageError(f"Job {job} asked for no callback, so there is none to send again.")
            count = tx.deliveries.again(job, at=now)
            if not count:
                raise IllegalMove(f"Job {job} is {found.state}; its callback is sent once it has ended.")
            tx.jobs.event(job, "callback_redelivered", at=now, detail={"pages": count})
        return count

    def deliver(self, job: str) -> Standing:
        """Try each page of a job that is due, once, in this thread; where its callback stands then."""
        while self._send_next(job=job):
            pass
        with self._host.store.reading() as tx:
            return tx.deliveries.standing(job)

    # What is written

    def collect(self, job: str) -> int:
        """
        Put what is to be reported of a job into the outbox; how many pages that is.

        Bodies are made outside of any transaction; where the job has moved meanwhile they are dropped, and the next
        look begins anew.
        """
        due = self._due(job)
        if due is None:
            return 0
        store, clock = self._host.store, self._host.clock
        format_ = self._formats.get(due.callback.format)
        if format_ is None:
            known = ", ".join(sorted(self._formats))
            raise NotFound(f"There is no callback format {due.callback.format}; known are: {known}")
        receiver = receiver_of(due.callback.url)
        with store.transaction() as tx:
            tx.deliveries.drop_written(job)
        count = 0
        for page in pages_of(self._host, due.job, due.keys, format_=format_, max_bytes=self._max_bytes):
            count += 1
            with store.transaction() as tx:
                tx.deliveries.write(
                    job,
                    page.body,
                    round_=due.job.round,
                    host=receiver,
                    webhook_id=page.webhook_id,
                    page=count,
                    records=page.records,
                    at=clock.now(),
                )
        with store.transaction() as tx:
            return count if self._release(tx, due, pages=count) else 0

    def _due(self, job: str) -> _Due | None:
        """What is to be reported of a job, if anything is."""
        with self._host.store.reading() as tx:
            callback, found = tx.callbacks.find(job), tx.jobs.get(job)
            ended = found.state.ended and callback is not None and callback.due is not None
            if callback is None or tx.deliveries.stopped(job) or not (ended or callback.mode == "stream"):
                due = None
            elif callback.mode == "stream":
                unreported = tx.callbacks.unreported(job, round_=found.round)
                keys = array("q", (key for one in unreported for key in one.keys))
                due = _Due(callback=callback, job=found, keys=keys, unreported=unreported) if keys or ended else None
            else:
                keys = array("q", (key for page in tx.ledger.pages(job) for key in page))
                due = _Due(callback=callback, job=found, keys=keys, unreported=())
        if due is None and callback is not None and callback.due is not None:
            # Its receiver wants nothing more.
            with self._host.store.transaction() as tx:
                tx.callbacks.clear_due(job)
        return due

    def _release(self, tx: Transaction, due: _Due, *, pages: int) -> bool:
        """Let the pages of a set be sent, if they still say what is so."""
        now, job = self._host.clock.now(), due.job
        current = tx.jobs.get(job.id)
        if (current.round, current.state.ended) != (job.round, job.state.ended):
            tx.deliveries.drop_written(job.id)
            return False
        if due.callback.mode != "stream":
            tx.deliveries.supersede(job.id, at=now)
        tx.callbacks.report(job.id, due.unreported, round_=job.round)
        tx.deliveries.release(job.id, pages=pages, at=now)
        if job.state.ended:
            tx.callbacks.entered(job.id, round_=job.round)
            tx.jobs.event(job.id, "callback_pending", at=now, detail={"pages": pages})
        return True

    def _to_stream(self, jobs: Sequence[str], now: float) -> list[str]:
        """Those of *jobs* that were not looked at lately."""
        every = self._stream_every.total_seconds()
        self._looked = {job: at for job, at in self._looked.items() if job in jobs}
        found = [job for job in jobs if now - self._looked.get(job, now - every) >= every]
        self._looked.update(dict.fromkeys(found, now))
        return found

    def _write(self, jobs: Sequence[str]) -> None:
        for job in jobs:
            if self._stopping:
                return
            try:
                self.collect(job)
                self._not_before.pop(job, None)
            except Exception as error:  # noqa: BLE001  a system's body that cannot be made must not stop the others
                self._not_before[job] = self._host.clock.now() + _AFTER_TROUBLE.total_seconds()
                _log.error("callback_not_written", job=job, exc_info=error)

    # What is sent

    def _serve(self, host: str) -> None:
        """Send what is due to one receiver, one page after another."""
        try:
            while not self._stopping and self._send_next(host=host):
                pass
        except LimnerError as error:
            _log.warning("callbacks_held_up", receiver=host, reason=str(error))

    def _send_next(self, *, host: str | None = None, job: str | None = None) -> bool:
        """Send the page that is due longest; whether there was one."""
        now = self._host.clock.now()
        until = now + (self._timeout + _GRACE).total_seconds()
        with self._host.store.transaction() as tx:
            page = tx.deliveries.claim(now=now, until=until, host=host, job=job)
            callback = None if page is None else tx.callbacks.find(page.job)
            body = b"" if page is None else tx.deliveries.body(page.pk)
        if page is None or callback is None:
            return False
        made = self._send(page, callback, body)
        with self._host.store.transaction() as tx:
            self._settle(tx, page, made)
        level = "callback_delivered" if made.error is None else "callback_refused"
        _log.info(level, job=page.job, webhook_id=page.webhook_id, tries=page.tries, status=made.status)
        return True

    def _send(self, page: Page, callback: Callback, body: bytes) -> Try:
        """Make one call; what came of it."""
        started, at = time.monotonic(), self._host.clock.now()
        status: int | None = None
        try:
            parse(callback.url)
            token = sendable(self._key.open(callback.token))
            content = sent_body(body, webhook_id=page.webhook_id, page=page.page, pages=page.pages)
            headers = self._headers(token, webhook_id=page.webhook_id, timestamp=int(at), body=content)
            status = self._post(callback.url, content, headers)
            error = refusal_of(status)
        except (AddressRefused, UsageError) as refused:
            error = str(refused)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failed:
            error = self._trouble(failed)
        return Try(at=at, status=status, error=error, seconds=time.monotonic() - started)

    def _post(self, url: str, content: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
        with self._lock:
            # Made with the first call: whoever only asks for a redelivery needs none.
            client = self._client = self._client or self._guard.client(total=self._timeout, max_redirects=0)
        with client.stream("POST", url, content=content, headers=list(headers)) as response:
            # The answer is there; what follows is read so that the receiver is not cut off, and never kept.
            size = 0
            with suppress(httpx.HTTPError):
                for chunk in response.iter_raw():
                    size += len(chunk)
                    if size > _ANSWER:
                        break
            return response.status_code

    def _headers(self, token: str, *, webhook_id: str, timestamp: int, body: bytes) -> list[tuple[bytes, bytes]]:
        secret = self._secret or token.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"limner/{__version__}",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
        }
        if token:
            headers["Authorization"] = token
        if secret:
            headers["webhook-signature"] = signature(secret, webhook_id=webhook_id, timestamp=timestamp, body=body)
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    def _trouble(self, error: Exception) -> str:
        """What went wrong, in words of our own: those of the error may hold a header."""
        if isinstance(error, httpx.TimeoutException):
            return f"No answer within {self._timeout.total_seconds():g} seconds."
        if isinstance(error, httpx.ConnectError):
            return "The receiver cannot be connected to."
        return f"The call broke off ({type(error).__name__})."

    def _settle(self, tx: Transaction, page: Page, made: Try) -> None:
        """Write down what came of a try, and what comes next."""
        before = tx.callbacks.find(page.job)
        state, next_at = self._next(page, made)
        tx.deliveries.settle(page, made, state=state, next_at=next_at)
        if state is PageState.GIVEN_UP and made.status == GONE:
            tx.deliveries.give_up(page.job, status=GONE, error=str(made.error), at=made.at)
        after = tx.callbacks.find(page.job)
        if before is None or after is None or before.state == after.state:
            return
        if after.state == "undelivered":
            stands = tx.deliveries.standing(page.job)
            code = FailureCode.CALLBACK_UNDELIVERED.value
            detail = {"code": code, "tries": stands.tries, "status": stands.last_status, "error": stands.last_error}
            tx.jobs.event(page.job, "callback_undelivered", at=made.at, detail=detail)
        if after.state == "delivered" and tx.jobs.get(page.job).state.ended:
            tx.jobs.event(page.job, "callback_delivered", at=made.at, detail={"tries": page.tries})

    def _next(self, page: Page, made: Try) -> tuple[PageState, float]:
        """The state of a page after a try, and when it is due again."""
        if made.error is None:
            return PageState.DELIVERED, made.at
        if made.status == GONE or page.tries > len(DELAYS):
            return PageState.GIVEN_UP, made.at
        wait = DELAYS[page.tries - 1].total_seconds() * (1 + _JITTER * self._jitter())
        return PageState.PENDING, self._host.clock.now() + wait

    def _begin(self, lane: str, work: Callable[[], None]) -> None:
        # A daemon: a receiver that hangs does not keep a process from ending, and its page is sent by the next.
        thread = threading.Thread(target=work, name=f"outbox-{lane or 'pages'}", daemon=True)
        with self._lock:
            self._lanes[lane] = thread
        thread.start()
