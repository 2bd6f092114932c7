"""Callbacks: where a job's end is reported, the outbox of their pages, and every try to send one."""

from collections.abc import Collection, Sequence
from enum import IntEnum

from msgspec import Struct
from sqlalchemy import delete, func, insert, or_, select, update

from limner.domain.jobs import Fate, JobState
from limner.domain.packing import unpack
from limner.store.base import Noun
from limner.store.dialect import upsert
from limner.store.door_tables import callbacks, deliveries, delivery_tries, reported
from limner.store.work_tables import jobs, ledger

#: What a new round forgets of what was reported: a record that failed may have been tried again.
_FORGOTTEN = bytes.maketrans(bytes([Fate.FAILED, Fate.CANCELLED]), bytes([Fate.OPEN, Fate.OPEN]))


class PageState(IntEnum):
    """What became of one page of a callback."""

    PENDING = 0
    DELIVERED = 1
    GIVEN_UP = 2
    #: Not all pages of its set are written yet.
    WRITTEN = 3
    #: A later round of the job reports the same records.
    SUPERSEDED = 4


class Callback(Struct, frozen=True, kw_only=True):
    """Where a job is reported."""

    job: str
    url: str
    #: The caller's token, sealed with the server's key; empty where there is none.
    token: bytes = b""
    #: ``end``, or ``stream``: as records finish.
    mode: str = "end"
    #: Name of the body's format.
    format: str = "limner"
    #: ``none``, ``pending``, ``delivered`` or ``undelivered``.
    state: str = "none"
    #: Round of the job whose end was last put into the outbox.
    round: int = 0
    #: When the job ended, until that end is in the outbox.
    due: float | None = None


class Page(Struct, frozen=True, kw_only=True):
    """One page of a callback; its body is loaded only to be sent."""

    pk: int
    job: str
    round: int
    webhook_id: str
    host: str
    page: int
    pages: int
    state: PageState
    tries: int
    next_at: float
    last_status: int | None
    last_error: str | None
    #: Root records that it reports.
    records: int
    created: float
    ended: float | None


class Try(Struct, frozen=True, kw_only=True):
    """One try to send one page."""

    at: float
    #: What the receiver answered; None where it did not.
    status: int | None
    #: Why it counts as failed; None where it was delivered.
    error: str | None
    seconds: float


class Standing(Struct, frozen=True, kw_only=True):
    """Where a job's callback stands."""

    #: ``none``, ``pending``, ``delivered`` or ``undelivered``.
    state: str = "none"
    pages: int = 0
    #: Tries of the page that was tried most often.
    tries: int = 0
    last_status: int | None = None
    last_error: str | None = None
    #: When the next page is sent; None where none is to be.
    next_try_at: float | None = None


class Backlog(Struct, frozen=True, kw_only=True):
    """Pages that wait to be delivered."""

    pages: int
    #: When the oldest of them was written.
    oldest: float | None


class Unreported(Struct, frozen=True, kw_only=True):
    """What a part of a job's ledger holds that was not reported yet."""

    part: int
    #: Records that ended, by key.
    keys: list[int]
    #: The fates of the whole part, which are reported with them.
    fates: bytes


_PAGE = tuple(deliveries.c[name] for name in Page.__struct_fields__)
_LIVE = (PageState.PENDING, PageState.DELIVERED, PageState.GIVEN_UP)


class Callbacks(Noun):
    """Callbacks, within one transaction."""

    def add(self, callback: Callback) -> None:
        """Insert the callback of a job."""
        self.connection.execute(
            insert(callbacks).values({name: getattr(callback, name) for name in Callback.__struct_fields__})
        )

    def find(self, job: str) -> Callback | None:
        """The callback of a job; None where it asked for none."""
        row = self.connection.execute(select(callbacks).where(callbacks.c.job == job)).first()
        return None if row is None else Callback(**row._mapping)

    def due(self, *, limit: int = 100) -> list[str]:
        """Jobs whose end is to be put into the outbox, the one that ended first first."""
        query = select(callbacks.c.job).where(callbacks.c.due.is_not(None)).order_by(callbacks.c.due).limit(limit)
        return list(self.connection.execute(query).scalars())

    def streaming(self) -> list[str]:
        """Jobs at work whose records are to be reported as they finish."""
        at_work = [state.value for state in JobState if not state.ended]
        query = (
            select(jobs.c.id)
            .join(callbacks, callbacks.c.job == jobs.c.id)
            .where(jobs.c.state.in_(at_work), callbacks.c.mode == "stream")
        )
        return list(self.connection.execute(query).scalars())

    def clear_due(self, job: str) -> None:
        """Say that nothing of a job is to be put into the outbox."""
        self.connection.execute(update(callbacks).where(callbacks.c.job == job).values(due=None))

    def entered(self, job: str, *, round_: int) -> None:
        """Remember that the end of a round is in the outbox."""
        self.connection.execute(update(callbacks).where(callbacks.c.job == job).values(due=None, round=round_))

    def unreported(self, job: str, *, round_: int) -> list[Unreported]:
        """What a job in stream mode has not reported: records that ended, in the parts of its ledger that differ."""
        joined = ledger.outerjoin(reported, (reported.c.job == ledger.c.owner) & (reported.c.part == ledger.c.part))
        query = (
            select(ledger.c.part, ledger.c.records, ledger.c.fates, reported.c.fates.label("told"), reported.c.round)
            .select_from(joined)
            .where(
                ledger.c.owner == job,
                or_(
                    reported.c.fates.is_(None),
                    reported.c.fates != ledger.c.fates,
                    reported.c.round != round_,
                ),
            )
            .order_by(ledger.c.part)
        )
        found = []
        for part, records, fates, told, round_told in self.connection.execute(query):
            before = (told or b"") if round_told == round_ else (told or b"").translate(_FORGOTTEN)
            before = before.ljust(len(fates), b"\0")
            keys = [key for key, now, old in zip(unpack(records), fates, before, strict=True) if now and now != old]
            found.append(Unreported(part=part, keys=keys, fates=fates))
        return found

    def report(self, job: str, given: Sequence[Unreported], *, round_: int) -> None:
        """Remember what is in the outbox now."""
        for one in given:
            statement = upsert(reported, key=("job", "part"), connection=self.connection)
            self.connection.execute(statement.values(job=job, part=one.part, round=round_, fates=one.fates))


class Deliveries(Noun):
    """The outbox, within one transaction."""

    def write(
        self, job: str, body: bytes, *, round_: int, host: str, webhook_id: str, page: int, records: int, at: float
    ) -> None:
        """Append a page of a set that is not whole yet; it is not sent before :meth:`release`."""
        self.connection.execute(
            insert(deliveries).values(
                job=job,
                round=round_,
                webhook_id=webhook_id,
                host=host,
                page=page,
                pages=0,
                state=PageState.WRITTEN.value,
                tries=0,
                next_at=at,
                records=records,
                created=at,
                body=body,
            )
        )

    def drop_written(self, job: str) -> None:
        """Drop the pages of a set that was never finished."""
        self.connection.execute(
            delete(deliveries).where(deliveries.c.job == job, deliveries.c.state == PageState.WRITTEN)
        )

    def release(self, job: str, *, pages: int, at: float) -> None:
        """Say that the set that was being written is whole: its pages are due."""
        self.connection.execute(
            update(deliveries)
            .where(deliveries.c.job == job, deliveries.c.state == PageState.WRITTEN)
            .values(state=PageState.PENDING.value, pages=pages, next_at=at)
        )
        self._refresh(job)

    def supersede(self, job: str, *, at: float) -> None:
        """Send no page that a job has in the outbox any more: what they report is reported again."""
        self.connection.execute(
            update(deliveries)
            .where(deliveries.c.job == job, deliveries.c.state.in_(_LIVE))
            .values(state=PageState.SUPERSEDED.value, ended=func.coalesce(deliveries.c.ended, at))
        )

    def stopped(self, job: str) -> bool:
        """Whether the receiver said that it wants nothing of this job any more (410)."""
        query = select(deliveries.c.pk).where(
            deliveries.c.job == job, deliveries.c.state == PageState.GIVEN_UP, deliveries.c.last_status == 410
        )
        return self.connection.execute(query.limit(1)).first() is not None

    def hosts_due(self, *, now: float, but: Collection[str] = (), limit: int = 100) -> list[str]:
        """Receivers for which a page is due, the one that waits longest first."""
        query = (
            select(deliveries.c.host)
            .where(deliveries.c.state == PageState.PENDING, deliveries.c.next_at <= now)
            .group_by(deliveries.c.host)
            .order_by(func.min(deliveries.c.next_at))
        )
        if but:
            query = query.where(deliveries.c.host.not_in(list(but)))
        return list(self.connection.execute(query.limit(limit)).scalars())

    def claim(self, *, now: float, until: float, host: str | None = None, job: str | None = None) -> Page | None:
        """
        The page that is due longest, to a receiver or of a job if asked; None where none is due.

        It counts as one try, and is due again at *until* unless it is settled before: whoever took it may die.
        """
        query = select(*_PAGE).where(deliveries.c.state == PageState.PENDING, deliveries.c.next_at <= now)
        query = query if host is None else query.where(deliveries.c.host == host)
        query = query if job is None else query.where(deliveries.c.job == job)
        row = self.connection.execute(query.order_by(deliveries.c.next_at, deliveries.c.pk).limit(1)).first()
        if row is None:
            return None
        taken = self.connection.execute(
            update(deliveries)
            .where(
                deliveries.c.pk == row.pk,
                deliveries.c.state == PageState.PENDING,
                deliveries.c.next_at == row.next_at,
            )
            .values(next_at=until, tries=deliveries.c.tries + 1)
        )
        if taken.rowcount != 1:
            return None
        page = _page(row)
        return Page(
            **{name: getattr(page, name) for name in Page.__struct_fields__ if name not in ("tries", "next_at")},
            tries=page.tries + 1,
            next_at=until,
        )

    def body(self, pk: int) -> bytes:
        """The body of a page as it was written."""
        return bytes(self.connection.execute(select(deliveries.c.body).where(deliveries.c.pk == pk)).scalar_one())

    def settle(self, page: Page, made: Try, *, state: PageState, next_at: float) -> None:
        """Write what came of a try of a page that was claimed."""
        self.connection.execute(
            insert(delivery_tries).values(
                delivery=page.pk, at=made.at, status=made.status, error=made.error, seconds=made.seconds
            )
        )
        ended = None if state is PageState.PENDING else made.at
        values = {"last_status": made.status, "last_error": made.error}
        self.connection.execute(update(deliveries).where(deliveries.c.pk == page.pk).values(**values))
        # A page that was superseded, or sent again by somebody else, meanwhile is not this try's any more.
        still_ours = (deliveries.c.state == PageState.PENDING) & (deliveries.c.next_at == page.next_at)
        self.connection.execute(
            update(deliveries)
            .where(deliveries.c.pk == page.pk, still_ours)
            .values(state=state.value, next_at=next_at, ended=ended)
        )
        self._refresh(page.job)

    def give_up(self, job: str, *, status: int | None, error: str, at: float) -> None:
        """Send nothing more of what a job has in the outbox."""
        self.connection.execute(
            update(deliveries)
            .where(deliveries.c.job == job, deliveries.c.state == PageState.PENDING)
            .values(state=PageState.GIVEN_UP.value, last_status=status, last_error=error, ended=at)
        )
        self._refresh(job)

    def again(self, job: str, *, at: float) -> int:
        """Make every page of a job that still counts due at once, as if it had never been tried; how many."""
        changed = self.connection.execute(
            update(deliveries)
            .where(deliveries.c.job == job, deliveries.c.state.in_(_LIVE))
            .values(state=PageState.PENDING.value, tries=0, next_at=at, last_status=None, last_error=None, ended=None)
        )
        self._refresh(job)
        return changed.rowcount

    def listing(self, job: str) -> list[Page]:
        """Every page of a job, superseded ones included, in order."""
        query = select(*_PAGE).where(deliveries.c.job == job, deliveries.c.state != PageState.WRITTEN)
        return [_page(row) for row in self.connection.execute(query.order_by(deliveries.c.pk))]

    def tries(self, pk: int) -> list[Try]:
        """Every try of a page, oldest first."""
        query = select(delivery_tries).where(delivery_tries.c.delivery == pk).order_by(delivery_tries.c.pk)
        return [
            Try(at=row.at, status=row.status, error=row.error, seconds=row.seconds)
            for row in self.connection.execute(query)
        ]

    def standing(self, job: str) -> Standing:
        """Where the callback of a job stands; ``none`` too where it asked for none."""
        pages = [page for page in self.listing(job) if page.state in _LIVE]
        if not pages:
            return Standing()
        tried = max((page for page in pages if page.tries), key=lambda page: (page.tries, page.pk), default=None)
        waiting = [page.next_at for page in pages if page.state is PageState.PENDING]
        return Standing(
            state=_told({page.state for page in pages}),
            pages=len(pages),
            tries=tried.tries if tried else 0,
            last_status=tried.last_status if tried else None,
            last_error=tried.last_error if tried else None,
            next_try_at=min(waiting, default=None),
        )

    def backlog(self) -> Backlog:
        """Pages that wait to be delivered, of all jobs."""
        query = select(func.count(), func.min(deliveries.c.created)).where(deliveries.c.state == PageState.PENDING)
        count, oldest = self.connection.execute(query).one()
        return Backlog(pages=count, oldest=oldest)

    def _refresh(self, job: str) -> None:
        """Set the state of a callback by its pages."""
        query = select(deliveries.c.state).where(deliveries.c.job == job, deliveries.c.state.in_(_LIVE)).distinct()
        states = {PageState(state) for state in self.connection.execute(query).scalars()}
        self.connection.execute(update(callbacks).where(callbacks.c.job == job).values(state=_told(states)))


def _page(row: object) -> Page:
    get = row.__getattribute__
    values = {name: get(name) for name in Page.__struct_fields__}
    return Page(**{**values, "state": PageState(values["state"])})


def _told(states: Collection[PageState]) -> str:
    """The state of a callback whose pages are in *states*."""
    if PageState.PENDING in states:
        return "pending"
    if PageState.GIVEN_UP in states:
        return "undelivered"
    return "delivered" if states else "none"
