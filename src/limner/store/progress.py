"""How far the work of jobs went: sums over tasks and pages of ledgers, never a look through results."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, and_, case, func, or_, select

from limner.domain.failures import Failure
from limner.domain.jobs import Fate, Job, JobState
from limner.domain.packing import unpack
from limner.domain.tasks import Status
from limner.store.base import Noun
from limner.store.jobs import job_of
from limner.store.tasks import TaskState
from limner.store.work_tables import jobs, ledger, results, tasks

#: Part of a ledger and position in it: records keep theirs, since a ledger only grows.
Place: TypeAlias = tuple[int, int]
START: Place = (0, -1)
_FATES = tuple(Fate)
_KEY_BYTES = 8


class StageTally(Struct, frozen=True):
    """What the tasks of one node come to."""

    node: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    #: Records in tasks that have not ended, and how many such tasks there are.
    open: int = 0
    tasks: int = 0
    #: Records that ended since the moment asked for.
    recent: int = 0
    #: When the oldest task that has not ended was planned.
    oldest: float | None = None


class Said(Struct, frozen=True):
    """What became of one record in one node, and who said so."""

    record: int
    node: int
    status: Status
    tried: int
    worker: str | None
    #: When the task that said it ended, or began where it goes on.
    at: float | None
    failure: Failure | None


class Made(Struct, frozen=True):
    """Which task made one record's value in one node, and what is measured of that task."""

    record: int
    node: int
    task: int
    #: When a worker began with the task, and when its last answer was committed.
    started: float | None
    ended: float | None
    #: Seconds of inferring, of all its records.
    seconds: float
    #: Records that it was for.
    size: int


class Share(Struct, frozen=True, kw_only=True):
    """One task of a job: what of the job's work went out together."""

    task: int
    state: TaskState
    #: Records in it, and what became of them so far.
    size: int
    done: int
    failed: int
    skipped: int
    worker: str | None
    started: float | None
    ended: float | None


class Span(Struct, frozen=True):
    """When the tasks of a job were worked on."""

    #: Whether a worker has, or had, any of them in hand.
    begun: bool
    first: float | None
    last: float | None


_failure = msgspec.msgpack.Decoder(Failure)


class Progress(Noun):
    """How far work went, within one transaction."""

    def by_node(self, *, job: str | None = None, since: float) -> dict[int, StageTally]:
        """The tasks of a job, or all tasks, by node; what ended at *since* or later counts as recent."""
        ended = tasks.c.done + tasks.c.failed + tasks.c.skipped
        lives = tasks.c.state.in_([TaskState.READY, TaskState.SENT])
        late = or_(tasks.c.ended >= since, and_(tasks.c.ended.is_(None), tasks.c.started >= since))
        columns: list[ColumnElement[int] | ColumnElement[float | None]] = [
            func.sum(tasks.c.done),
            func.sum(tasks.c.failed),
            func.sum(tasks.c.skipped),
            func.sum(case((lives, func.length(tasks.c.open)), else_=0)),
            func.sum(case((lives, 1), else_=0)),
            func.sum(case((late, ended), else_=0)),
            func.min(case((lives, tasks.c.created))),
        ]
        query = select(tasks.c.node, *columns).group_by(tasks.c.node)
        if job is not None:
            query = query.where(tasks.c.job == job)
        found = {}
        for node, done, failed, skipped, size, count, recent, oldest in self.connection.execute(query):
            found[node] = StageTally(
                node, int(done), int(failed), int(skipped), int(size) // _KEY_BYTES, int(count), int(recent), oldest
            )
        return found

    def open_by_node(self) -> dict[int, StageTally]:
        """What is open, whoever asked for it, by node: a look at open tasks alone."""
        query = (
            select(tasks.c.node, func.sum(func.length(tasks.c.open)), func.count(), func.min(tasks.c.created))
            .where(tasks.c.state.in_([TaskState.READY, TaskState.SENT]))
            .group_by(tasks.c.node)
        )
        return {
            node: StageTally(node, open=int(size or 0) // _KEY_BYTES, tasks=int(count), oldest=oldest)
            for node, size, count, oldest in self.connection.execute(query)
        }

    def ahead(self, nodes: Sequence[int], *, job: str, since: float) -> int:
        """Open records of *nodes* that other jobs planned before *since*."""
        query = select(func.coalesce(func.sum(func.length(tasks.c.open)), 0)).where(
            tasks.c.state.in_([TaskState.READY, TaskState.SENT]),
            tasks.c.node.in_(nodes),
            tasks.c.created <= since,
            or_(tasks.c.job.is_(None), tasks.c.job != job),
        )
        return int(self.connection.execute(query).scalar_one()) // _KEY_BYTES

    def expiries(self) -> int:
        """How often a worker was lost with a task, of all tasks that there are."""
        return int(self.connection.execute(select(func.coalesce(func.sum(tasks.c.lost), 0))).scalar_one())

    def any_sent(self, *, job: str) -> bool:
        """Whether a task of the job is in a worker's hands, or on its way there."""
        query = select(tasks.c.pk).where(tasks.c.job == job, tasks.c.state == TaskState.SENT).limit(1)
        return self.connection.execute(query).first() is not None

    def page(
        self, owner: str, *, after: Place = START, limit: int, having: Sequence[Fate] | None = None
    ) -> list[tuple[Place, int, Fate]]:
        """The next records of a ledger's owner: place, key and fate, as they were entered; only some fates if asked."""
        wanted = set(Fate if having is None else having)
        present = or_(*(ledger.c[fate.name.lower()] > 0 for fate in wanted))
        found: list[tuple[Place, int, Fate]] = []
        part, at = after
        while len(found) < limit:
            query = select(ledger.c.part, ledger.c.records, ledger.c.fates).where(
                ledger.c.owner == owner, ledger.c.part >= part, present
            )
            row = self.connection.execute(query.order_by(ledger.c.part).limit(1)).first()
            if row is None:
                break
            first = at + 1 if row.part == part else 0
            keys = unpack(row.records)
            for place in range(first, len(keys)):
                fate = _FATES[row.fates[place]]
                if fate in wanted:
                    found.append(((row.part, place), keys[place], fate))
            part, at = row.part + 1, -1
        return found[:limit]

    def jobs(
        self,
        *,
        before: tuple[float, str] | None = None,
        limit: int,
        pipeline: str | None = None,
        states: Sequence[JobState] | None = None,
    ) -> list[Job]:
        """Jobs, the newest first, created before the one that *before* names."""
        query = select(jobs).order_by(jobs.c.created.desc(), jobs.c.id.desc()).limit(limit)
        if before is not None:
            at, identity = before
            query = query.where(or_(jobs.c.created < at, and_(jobs.c.created == at, jobs.c.id < identity)))
        if pipeline is not None:
            query = query.where(jobs.c.pipeline == pipeline)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        return [job_of(row) for row in self.connection.execute(query)]

    def said(self, keys: Sequence[int], *, versions: Mapping[int, int]) -> list[Said]:
        """What the given versions of nodes said of records, who said it and when; values of failures only."""
        found: list[Said] = []
        if not versions:
            return found
        value = case((results.c.status == Status.FAILED, results.c.value), else_=b"")
        columns = [results.c[name] for name in ("record", "node", "version", "status", "tried")]
        source = results.outerjoin(tasks, results.c.task == tasks.c.pk)
        wanted = results.c.version.in_(set(versions.values()))
        for clause in self.spans(results.c.record, keys):
            query = select(*columns, tasks.c.worker, tasks.c.started, tasks.c.ended, value).select_from(source)
            for row in self.connection.execute(query.where(clause, wanted)):
                if versions.get(row[1]) == row[2]:
                    failure = _failure.decode(row[8]) if row[8] else None
                    found.append(Said(row[0], row[1], Status(row[3]), row[4], row[5], row[7] or row[6], failure))
        return found

    def made(self, keys: Sequence[int], *, versions: Mapping[int, int]) -> list[Made]:
        """The tasks that made the values that the given versions of nodes have for records."""
        found: list[Made] = []
        if not versions:
            return found
        columns = [results.c[name] for name in ("record", "node", "version", "task")]
        columns += [tasks.c[name] for name in ("started", "ended", "seconds", "size")]
        wanted = and_(results.c.version.in_(set(versions.values())), results.c.status == Status.DONE)
        query = select(*columns).select_from(results.join(tasks, results.c.task == tasks.c.pk)).where(wanted)
        for clause in self.spans(results.c.record, keys):
            for record, node, version, *of_task in self.connection.execute(query.where(clause)):
                if versions.get(node) == version:
                    found.append(Made(record, node, *of_task))
        return found

    def shares(self, job: str, *, node: int, limit: int) -> list[Share]:
        """The first tasks that a job has in a node, in the order in which they were planned."""
        names = ("state", "size", "done", "failed", "skipped", "worker", "started", "ended")
        query = select(tasks.c.pk, *(tasks.c[name] for name in names)).order_by(tasks.c.pk).limit(limit)
        found = self.connection.execute(query.where(tasks.c.job == job, tasks.c.node == node))
        return [
            Share(task=pk, state=TaskState(state), **dict(zip(names[1:], told, strict=True)))
            for pk, state, *told in found
        ]

    def span(self, job: str, *, nodes: Sequence[int] | None = None) -> Span:
        """
        When the tasks of a job were worked on: from the first that a worker had in hand to the last answer.

        With *nodes*, only their tasks.
        """
        # A task that waits has no worker, or an empty one; one whose worker was lost waits until it is taken again.
        in_hand = or_(tasks.c.worker != "", tasks.c.started.is_not(None), tasks.c.lost > 0)
        query = select(
            func.sum(case((in_hand, 1), else_=0)),
            func.min(tasks.c.started),
            func.max(func.coalesce(tasks.c.ended, tasks.c.started)),
        ).where(tasks.c.job == job)
        if nodes is not None:
            query = query.where(tasks.c.node.in_(nodes))
        count, first, last = self.connection.execute(query).one()
        return Span(bool(count), first, last)
