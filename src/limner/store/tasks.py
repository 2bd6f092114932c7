"""Tasks: what is planned, sent, leased and retried."""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import Select, func, insert, or_, select, update

from limner.domain.packing import pack, unpack
from limner.store.base import Noun
from limner.store.door_tables import workers
from limner.store.work_tables import tasks


class TaskState(IntEnum):
    """Where a task stands."""

    READY = 0
    SENT = 1
    ENDED = 2
    DROPPED = 3


class StoredTask(Struct, frozen=True):
    """One open task as it stands in the store."""

    pk: int
    node: int
    version: int
    job: str | None
    state: int
    priority: int
    tried: int
    attempt: int
    lost: int
    not_before: float
    lease_until: float | None
    worker: str | None
    first: int
    last: int
    open: bytes
    size: int
    done: int
    failed: int
    skipped: int
    unchanged: int

    @property
    def keys(self) -> list[int]:
        """The records that are still open in it."""
        return list(unpack(self.open))


class NewTask(Struct, frozen=True, kw_only=True):
    """A task to plan."""

    node: int
    version: int
    keys: Sequence[int]
    job: str | None
    priority: int = 0
    tried: int = 0
    #: Times that a worker was lost with these records.
    lost: int = 0
    not_before: float = 0.0


class Tally(Struct, frozen=True, kw_only=True):
    """What one commit did to a task."""

    pk: int
    open: Sequence[int]
    done: int = 0
    failed: int = 0
    skipped: int = 0
    unchanged: int = 0
    worker: str | None = None
    started: float | None = None
    seconds: float = 0.0
    #: When it was committed; None means when the worker had inferred.
    at: float | None = None
    ended: bool = False
    #: It goes back to be sent again: its worker is done with it and some records are open.
    back: bool = False

    @property
    def state(self) -> TaskState:
        """Where the task stands after the commit."""
        if self.ended:
            return TaskState.ENDED
        return TaskState.READY if self.back else TaskState.SENT


_COLUMNS = tuple(StoredTask.__struct_fields__)

#: What a tally gives, and of which column's kind it is.
_TALLY = {
    "o": tasks.c.open,
    "d": tasks.c.done,
    "f": tasks.c.failed,
    "s": tasks.c.skipped,
    "u": tasks.c.unchanged,
    "w": tasks.c.worker,
    "b": tasks.c.started,
    "t": tasks.c.seconds,
    "e": tasks.c.ended,
    "st": tasks.c.state,
    "key": tasks.c.pk,
}


class Tasks(Noun):
    """Tasks, within one transaction."""

    def plan(self, given: Sequence[NewTask], *, now: float) -> None:
        """Insert tasks that are ready."""
        first = self.allocate("tasks", len(given))
        columns = (
            *("pk", "node", "version", "job", "state", "priority", "tried", "attempt", "lost", "not_before"),
            *("first", "last", "open", "size", "done", "failed", "skipped", "unchanged", "created", "seconds"),
        )
        rows = [
            (
                *(
                    first + position,
                    task.node,
                    task.version,
                    task.job,
                    TaskState.READY.value,
                    task.priority,
                    task.tried,
                    0,
                ),
                *(task.lost, task.not_before, min(task.keys), max(task.keys), pack(task.keys), len(task.keys)),
                *(0, 0, 0, 0, now, 0.0),
            )
            for position, task in enumerate(given)
        ]
        self.insert_all("plan tasks", lambda: insert(tasks), columns=columns, rows=rows)

    def ready(self, *, node: int, job: str | None, now: float, limit: int) -> list[StoredTask]:
        """The next tasks of a node and job that may be sent, in the order in which they were planned."""
        query = (
            self._open()
            .where(
                tasks.c.state == TaskState.READY,
                tasks.c.node == node,
                tasks.c.job.is_(None) if job is None else tasks.c.job == job,
                tasks.c.not_before <= now,
            )
            .order_by(tasks.c.pk)
            .limit(limit)
        )
        return [StoredTask(*row) for row in self.connection.execute(query)]

    def backlog(self) -> dict[tuple[int, str | None], int]:
        """How many tasks are ready, by node and job, those that wait for a retry included."""
        query = (
            select(tasks.c.node, tasks.c.job, func.count())
            .where(tasks.c.state == TaskState.READY)
            .group_by(tasks.c.node, tasks.c.job)
        )
        return {(row[0], row[1]): row[2] for row in self.connection.execute(query)}

    def in_flight(self) -> dict[int, int]:
        """How many tasks are sent, by node."""
        query = select(tasks.c.node, func.count()).where(tasks.c.state == TaskState.SENT).group_by(tasks.c.node)
        return {row[0]: row[1] for row in self.connection.execute(query)}

    def send(self, rows: Sequence[tuple[int, float]]) -> None:
        """Mark tasks as sent, and as held by nobody yet: key and end of the lease."""
        self.update_all(
            "send tasks",
            lambda given: (
                update(tasks)
                .where(tasks.c.pk == given("key"))
                .values(state=TaskState.SENT, attempt=tasks.c.attempt + 1, lease_until=given("until"), worker=None)
            ),
            columns={"key": tasks.c.pk, "until": tasks.c.lease_until},
            rows=rows,
        )

    def extend(self, keys: Sequence[int], *, until: float, worker: str) -> None:
        """Move the leases of sent tasks."""
        for start in range(0, len(keys), 900):
            chunk = keys[start : start + 900]
            held = update(tasks).where(tasks.c.pk.in_(chunk), tasks.c.state == TaskState.SENT)
            self.connection.execute(held.values(lease_until=until, worker=worker))

    def unsend(self, keys: Sequence[int] | None = None) -> int:
        """Make sent tasks ready again, all of them if no keys are given; how many there were."""
        query = update(tasks).where(tasks.c.state == TaskState.SENT)
        if keys is not None:
            query = query.where(tasks.c.pk.in_(keys))
        return self.connection.execute(query.values(state=TaskState.READY, lease_until=None)).rowcount

    def prolong(self, *, until: float) -> None:
        """Let the lease of every sent task last at least so long; who holds it stays."""
        sent = update(tasks).where(tasks.c.state == TaskState.SENT, tasks.c.lease_until < until)
        self.connection.execute(sent.values(lease_until=until))

    def shorten(self, *, until: float) -> None:
        """Let the lease of no sent task last any longer; who holds it stays."""
        sent = update(tasks).where(tasks.c.state == TaskState.SENT, tasks.c.lease_until > until)
        self.connection.execute(sent.values(lease_until=until))

    def bring_forward(self, *, until: float) -> None:
        """Let no ready task wait any longer before it is sent."""
        ready = update(tasks).where(tasks.c.state == TaskState.READY, tasks.c.not_before > until)
        self.connection.execute(ready.values(not_before=until))

    def unsend_abandoned(self, *, now: float) -> int:
        """
        Make ready again what was sent and is in nobody's hands after a restart; how many there were.

        A far worker goes on while the server is away: what one holds, and has a lease for, is left to it.
        """
        far = select(workers.c.id)
        gone = or_(tasks.c.worker.is_(None), tasks.c.worker.not_in(far), tasks.c.lease_until < now)
        query = update(tasks).where(tasks.c.state == TaskState.SENT, gone)
        return self.connection.execute(query.values(state=TaskState.READY, lease_until=None)).rowcount

    def load(self, keys: Iterable[int]) -> dict[int, StoredTask]:
        """Open tasks by key; ended and dropped ones are left out."""
        wanted = list(keys)
        found: dict[int, StoredTask] = {}
        for start in range(0, len(wanted), 900):
            query = self._open().where(tasks.c.pk.in_(wanted[start : start + 900]), tasks.c.state <= TaskState.SENT)
            found.update((row[0], StoredTask(*row)) for row in self.connection.execute(query))
        return found

    def any_state(self, key: int) -> StoredTask | None:
        """The task with this key, ended and dropped ones too; None where there never was one."""
        row = self.connection.execute(self._open().where(tasks.c.pk == key)).first()
        return None if row is None else StoredTask(*row)

    def expired(self, *, now: float, limit: int = 200) -> list[StoredTask]:
        """Sent tasks whose lease ran out."""
        query = self._open().where(tasks.c.state == TaskState.SENT, tasks.c.lease_until < now).limit(limit)
        return [StoredTask(*row) for row in self.connection.execute(query)]

    def unheld(self, nodes: Sequence[int], *, now: float) -> int:
        """How many sent tasks of *nodes* nobody has said yet that he holds, and have a lease that lasts."""
        nobody = or_(tasks.c.worker.is_(None), tasks.c.worker == "")
        query = select(func.count()).where(
            tasks.c.node.in_(nodes), tasks.c.state == TaskState.SENT, tasks.c.lease_until >= now, nobody
        )
        return int(self.connection.execute(query).scalar_one())

    def tally(self, given: Sequence[Tally]) -> None:
        """Write what commits did to tasks; counts are added to those that stand."""
        rows = [
            (
                *(pack(t.open), t.done, t.failed, t.skipped, t.unchanged, t.worker, t.started, t.seconds),
                *(_ended(t),),
                *(t.state.value, t.pk),
            )
            for t in given
        ]
        self.update_all(
            "tally tasks",
            lambda given: (
                update(tasks)
                .where(tasks.c.pk == given("key"))
                .values(
                    open=given("o"),
                    done=tasks.c.done + given("d"),
                    failed=tasks.c.failed + given("f"),
                    skipped=tasks.c.skipped + given("s"),
                    unchanged=tasks.c.unchanged + given("u"),
                    worker=func.coalesce(given("w"), tasks.c.worker),
                    started=func.coalesce(tasks.c.started, given("b")),
                    seconds=tasks.c.seconds + given("t"),
                    ended=given("e"),
                    state=given("st"),
                )
            ),
            columns=_TALLY,
            rows=rows,
        )

    def drop(self, keys: Sequence[int]) -> None:
        """Take tasks out of the work; late answers to them change nothing."""
        for start in range(0, len(keys), 900):
            gone = update(tasks).where(tasks.c.pk.in_(keys[start : start + 900]))
            self.connection.execute(gone.values(state=TaskState.DROPPED, open=b""))

    def give_to(self, keys: Sequence[int], *, job: str | None) -> None:
        """Hand tasks over to another job that wants the same results."""
        if keys:
            self.connection.execute(update(tasks).where(tasks.c.pk.in_(keys)).values(job=job))

    def overlapping(self, nodes: Sequence[int], *, first: int, last: int) -> list[StoredTask]:
        """Open tasks of *nodes* that may hold records between *first* and *last*."""
        query = self._open().where(
            tasks.c.node.in_(nodes), tasks.c.state.in_([0, 1]), tasks.c.last >= first, tasks.c.first <= last
        )
        return [StoredTask(*row) for row in self.connection.execute(query)]

    def open_of(self, *, nodes: Sequence[int] | None = None, job: str | None = None) -> list[StoredTask]:
        """Open tasks of some nodes, or of a job."""
        query = self._open().where(tasks.c.state.in_([0, 1]))
        if nodes is not None:
            query = query.where(tasks.c.node.in_(nodes))
        if job is not None:
            query = query.where(tasks.c.job == job)
        return [StoredTask(*row) for row in self.connection.execute(query)]

    def any_open(self, *, job: str) -> bool:
        """Whether a job has an open task."""
        query = select(tasks.c.pk).where(tasks.c.job == job, tasks.c.state.in_([0, 1])).limit(1)
        return self.connection.execute(query).first() is not None

    def seconds(self, *, job: str, nodes: Sequence[int]) -> float:
        """Seconds in which workers inferred for *job* in *nodes*, those of all of them added up."""
        query = select(func.coalesce(func.sum(tasks.c.seconds), 0.0)).where(tasks.c.job == job, tasks.c.node.in_(nodes))
        return float(self.connection.execute(query).scalar_one())

    def any_of(self, nodes: Sequence[int]) -> bool:
        """Whether one of these nodes has an open task."""
        query = select(tasks.c.pk).where(tasks.c.node.in_(nodes), tasks.c.state.in_([0, 1])).limit(1)
        return self.connection.execute(query).first() is not None

    def durations(self, *, nodes: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        """Open records and tasks by node."""
        query = (
            select(tasks.c.node, func.sum(func.length(tasks.c.open)), func.count())
            .where(tasks.c.node.in_(nodes), or_(tasks.c.state == 0, tasks.c.state == 1))
            .group_by(tasks.c.node)
        )
        return {row[0]: (int(row[1] or 0) // 8, row[2]) for row in self.connection.execute(query)}

    def _open(self) -> "Select[tuple[Any, ...]]":
        return select(*(tasks.c[name] for name in _COLUMNS))


def _ended(tally: Tally) -> float | None:
    """When a task ended; None while it has not."""
    if not tally.ended:
        return None
    inferred = None if tally.started is None else tally.started + tally.seconds
    return tally.at if tally.at is not None else inferred
