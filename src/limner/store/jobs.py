"""Jobs, their events, and the source rows that were set aside."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct, structs
from sqlalchemy import func, insert, select, update

from limner.domain.jobs import Job, JobState, move
from limner.domain.records import SetAside
from limner.domain.values import Value
from limner.errors import NotFound
from limner.store.base import Noun
from limner.store.door_tables import callbacks
from limner.store.work_tables import job_events, jobs, set_aside


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened to a job."""

    at: float
    kind: str
    detail: Mapping[str, Value]


_decoder = msgspec.msgpack.Decoder(Job)


class Jobs(Noun):
    """Jobs, within one transaction."""

    def add(self, job: Job) -> None:
        """Insert a job."""
        self.connection.execute(
            insert(jobs).values(
                id=job.id,
                pipeline=job.pipeline,
                state=job.state.value,
                priority=job.priority,
                created=job.created,
                inferred=0,
                reused=0,
                downloads=0,
                set_aside=0,
                detail=msgspec.msgpack.encode(job),
            )
        )
        self.event(job.id, "created", at=job.created)

    def get(self, identity: str) -> Job:
        """
        The job.

        Raises:
            NotFound: there is none with this id.
        """
        row = self.connection.execute(select(jobs).where(jobs.c.id == identity)).first()
        if row is None:
            raise NotFound(f"There is no job {identity}; `limner jobs` lists them.")
        return job_of(row)

    def exists(self, identity: str) -> bool:
        """Whether there is a job with this id."""
        return self.connection.execute(select(jobs.c.id).where(jobs.c.id == identity)).first() is not None

    def listing(self, *, states: Sequence[JobState] | None = None, limit: int = 100) -> list[Job]:
        """Jobs in some states, the newest first."""
        query = select(jobs).order_by(jobs.c.created.desc(), jobs.c.id.desc()).limit(limit)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        return [job_of(row) for row in self.connection.execute(query)]

    def open(self) -> list[Job]:
        """Jobs that have not ended, those of a higher priority first, then the oldest."""
        states = [state.value for state in JobState if not state.ended]
        query = select(jobs).where(jobs.c.state.in_(states)).order_by(jobs.c.priority.desc(), jobs.c.created)
        return [job_of(row) for row in self.connection.execute(query)]

    def latest(self, *, pipeline: str | None = None) -> Job | None:
        """The newest job, of a pipeline if asked."""
        query = select(jobs).order_by(jobs.c.created.desc(), jobs.c.id.desc()).limit(1)
        row = self.connection.execute(query.where(jobs.c.pipeline == pipeline) if pipeline else query).first()
        return None if row is None else job_of(row)

    def move(self, identity: str, state: JobState, *, at: float, detail: Mapping[str, Value] | None = None) -> None:
        """
        Move a job to *state* and say so in its events.

        Raises:
            IllegalMove: it may not move there.
        """
        job = self.get(identity)
        moved = structs.replace(job, state=move(job.state, state))
        self._write(moved, ended=at if state.ended else None)
        # With the end itself, so that no crash between the two loses a callback.
        self.connection.execute(
            update(callbacks).where(callbacks.c.job == identity).values(due=at if state.ended else None)
        )
        self.event(identity, state.value, at=at, detail=detail)

    def replace(self, job: Job) -> None:
        """Overwrite everything of a job but its counters."""
        self._write(job, ended=job.ended)

    def grow(
        self, identity: str, *, inferred: int = 0, reused: int = 0, downloads: int = 0, set_aside_rows: int = 0
    ) -> None:
        """Add to a job's counters."""
        self.connection.execute(
            update(jobs)
            .where(jobs.c.id == identity)
            .values(
                inferred=jobs.c.inferred + inferred,
                reused=jobs.c.reused + reused,
                downloads=jobs.c.downloads + downloads,
                set_aside=jobs.c.set_aside + set_aside_rows,
            )
        )

    def event(self, identity: str, kind: str, *, at: float, detail: Mapping[str, Value] | None = None) -> None:
        """Append to what happened to a job."""
        packed = msgspec.msgpack.encode(detail or {})
        self.connection.execute(insert(job_events).values(job=identity, at=at, kind=kind, detail=packed))

    def events(self, identity: str) -> list[Event]:
        """What happened to a job, oldest first."""
        query = select(job_events).where(job_events.c.job == identity).order_by(job_events.c.pk)
        return [
            Event(at=row.at, kind=row.kind, detail=msgspec.msgpack.decode(row.detail))
            for row in self.connection.execute(query)
        ]

    def set_aside(self, identity: str, given: Sequence[SetAside]) -> None:
        """Append source rows that could not become records, and count them."""
        rows = [(identity, str(row.row), row.code.value, row.reason, row.excerpt[:500]) for row in given]
        columns = ("job", "row", "code", "reason", "excerpt")
        self.insert_all("set aside", lambda: insert(set_aside), columns=columns, rows=rows)
        if rows:
            self.grow(identity, set_aside_rows=len(rows))

    def rows_aside(self, identity: str, *, limit: int = 1000) -> list[tuple[str, str, str, str]]:
        """Row, code, reason and beginning of what was set aside."""
        query = select(set_aside).where(set_aside.c.job == identity).order_by(set_aside.c.pk).limit(limit)
        return [(row.row, row.code, row.reason, row.excerpt) for row in self.connection.execute(query)]

    def count(self) -> int:
        """How many jobs there are."""
        return int(self.connection.execute(select(func.count()).select_from(jobs)).scalar_one())

    def _write(self, job: Job, *, ended: float | None) -> None:
        values = {
            "state": job.state.value,
            "priority": job.priority,
            "ended": ended,
            "detail": msgspec.msgpack.encode(job),
        }
        self.connection.execute(update(jobs).where(jobs.c.id == job.id).values(**values))


def job_of(row: object) -> Job:
    """The job in a row; its state and counters are those of the columns."""
    get = row.__getattribute__
    counters = {name: get(name) for name in ("inferred", "reused", "downloads", "set_aside", "created", "ended")}
    return structs.replace(_decoder.decode(get("detail")), state=JobState(get("state")), **counters)
