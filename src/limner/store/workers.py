"""Far workers: who they are, when each was last heard of, and who serves what."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec
from msgspec import Struct, structs
from sqlalchemy import case, delete, func, insert, select, update

from limner.domain.jobs import JobState
from limner.domain.workers import LIVE_FOR, Beat, Hello, Liveness, liveness
from limner.store.base import Noun
from limner.store.dialect import insert_missing
from limner.store.door_tables import offered, served, workers
from limner.store.tasks import TaskState
from limner.store.work_tables import attempts, jobs, tasks


class StoredWorker(Struct, frozen=True, kw_only=True):
    """One worker as it stands in the store."""

    hello: Hello
    beat: Beat
    first_seen: float
    last_seen: float
    #: When it last answered for a record.
    last_progress: float | None
    records: int
    seconds: float
    #: It is to stop after what it has in hand.
    drain: bool

    def liveness(self, *, now: float) -> Liveness:
        """How it is seen now."""
        return liveness(timedelta(seconds=now - self.last_seen))


class ServedBy(Struct, frozen=True):
    """One implementation in the hands of one worker."""

    worker: str
    #: ``pipeline.stage/implementation``.
    address: str
    #: Digest of the version that it serves; empty where the server knows none such.
    version: str
    ready: bool


class Served(Struct, frozen=True, kw_only=True):
    """Who serves one implementation."""

    live: int = 0
    ready: int = 0
    #: When any of its workers was last heard of.
    last_seen: float | None = None


class Held(Struct, frozen=True):
    """How a task stands that a worker says it holds."""

    state: int
    worker: str | None
    job_state: str | None

    def held_by(self, worker: str) -> bool:
        """Whether it was sent, and *worker* was the last to hold it."""
        return self.state == TaskState.SENT and self.worker == worker

    @property
    def free(self) -> bool:
        """Whether it was sent, and nobody has said yet that he holds it."""
        return self.state == TaskState.SENT and not self.worker

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for it: it was dropped, and its job has ended."""
        return self.state == TaskState.DROPPED and self.job_state is not None and JobState(self.job_state).ended


class Activity(Struct, frozen=True, kw_only=True):
    """What some nodes have to do, and when they last did something."""

    records: int
    tasks: int
    #: When the oldest of these tasks was planned.
    oldest: float | None
    last_success: float | None
    last_failure: float | None


class Offered(Struct, frozen=True):
    """An implementation that no pipeline declares and that lives only on outside workers."""

    pipeline: str
    stage: str
    implementation: str


_hello = msgspec.msgpack.Decoder(Hello)
_beat = msgspec.msgpack.Decoder(Beat)


class Workers(Noun):
    """Workers, within one transaction."""

    def hello(self, hello: Hello, *, serves: Mapping[str, str], now: float) -> None:
        """Insert a worker, or renew one; *serves* are the versions' digests by address, in place of all before."""
        fresh = {
            "detail": msgspec.msgpack.encode(hello),
            "state": msgspec.msgpack.encode(Beat(worker_id=hello.worker_id)),
            "last_seen": now,
            "drain": 0,
        }
        known = update(workers).where(workers.c.id == hello.worker_id).values(**fresh)
        if not self.connection.execute(known).rowcount:
            first = insert(workers).values(id=hello.worker_id, first_seen=now, records=0, seconds=0.0, **fresh)
            self.connection.execute(first)
        self.connection.execute(delete(served).where(served.c.worker == hello.worker_id))
        rows = [{"worker": hello.worker_id, "address": a, "version": v, "ready": 1} for a, v in serves.items()]
        if rows:
            self.connection.execute(insert(served), rows)

    def beat(self, beat: Beat, *, ready: Mapping[str, bool], now: float) -> bool:
        """
        Keep what a worker says of itself, of its sender alone; False where it never said hello.

        *ready* says by address whether its inferrers can be called.
        """
        known = update(workers).where(workers.c.id == beat.worker_id)
        state = msgspec.msgpack.encode(beat)
        if not self.connection.execute(known.values(state=state, last_seen=now)).rowcount:
            return False
        for flag in (True, False):
            named = [address for address, well in ready.items() if well is flag]
            if named:
                mine = update(served).where(served.c.worker == beat.worker_id, served.c.address.in_(named))
                self.connection.execute(mine.values(ready=int(flag)))
        return True

    def seen(self, worker: str, *, now: float) -> bool:
        """Remember that a worker was heard of; False where it never said hello."""
        known = update(workers).where(workers.c.id == worker).values(last_seen=now)
        return bool(self.connection.execute(known).rowcount)

    def progressed(self, worker: str, *, records: int, seconds: float, now: float) -> None:
        """Remember that a worker answered for *records*, on which it spent so many *seconds*."""
        grown = {"records": workers.c.records + records, "seconds": workers.c.seconds + seconds}
        mine = update(workers).where(workers.c.id == worker)
        self.connection.execute(mine.values(last_seen=now, last_progress=now, **grown))

    def drain(self, worker: str) -> bool:
        """Ask a worker to stop after what it has in hand; False where it is unknown."""
        mine = update(workers).where(workers.c.id == worker).values(drain=1)
        return bool(self.connection.execute(mine).rowcount)

    def get(self, worker: str) -> StoredWorker | None:
        """One worker; None where it never said hello."""
        row = self.connection.execute(select(workers).where(workers.c.id == worker)).first()
        return None if row is None else _worker(row)

    def listing(self, *, seen_since: float = 0.0) -> list[StoredWorker]:
        """The workers that were heard of since, the last heard of first."""
        query = select(workers).where(workers.c.last_seen >= seen_since)
        ordered = query.order_by(workers.c.last_seen.desc(), workers.c.id)
        return [_worker(row) for row in self.connection.execute(ordered)]

    def forget(self, *, seen_before: float) -> int:
        """Remove the workers that were not heard of since; how many there were."""
        gone = select(workers.c.id).where(workers.c.last_seen < seen_before)
        self.connection.execute(delete(served).where(served.c.worker.in_(gone)))
        return self.connection.execute(delete(workers).where(workers.c.last_seen < seen_before)).rowcount

    def served_by(self, names: Sequence[str] | None = None) -> list[ServedBy]:
        """What workers serve: those named, or all of them."""
        query = select(served.c.worker, served.c.address, served.c.version, served.c.ready)
        if names is not None:
            query = query.where(served.c.worker.in_(names))
        rows = self.connection.execute(query.order_by(served.c.address, served.c.worker))
        return [ServedBy(row[0], row[1], row[2], bool(row[3])) for row in rows]

    def serving(self, *, now: float) -> dict[str, Served]:
        """By address: how many live workers serve it, how many of them are ready, and when one was last heard of."""
        since = now - LIVE_FOR.total_seconds()
        live = func.sum(case((workers.c.last_seen >= since, 1), else_=0))
        query = (
            select(served.c.address, served.c.ready, live, func.max(workers.c.last_seen))
            .join(workers, workers.c.id == served.c.worker)
            .group_by(served.c.address, served.c.ready)
        )
        found: dict[str, Served] = {}
        for address, ready, alive, last in self.connection.execute(query):
            before = found.get(address, Served())
            found[address] = structs.replace(
                before,
                live=before.live + int(alive),
                ready=before.ready + (int(alive) if ready else 0),
                last_seen=max(float(last), before.last_seen or 0.0),
            )
        return found

    def holding(self, keys: Sequence[int]) -> dict[int, Held]:
        """How the tasks with these keys stand; those that never were are left out."""
        query = select(tasks.c.pk, tasks.c.state, tasks.c.worker, jobs.c.state).outerjoin(
            jobs, jobs.c.id == tasks.c.job
        )
        found: dict[int, Held] = {}
        for start in range(0, len(keys), 900):
            rows = self.connection.execute(query.where(tasks.c.pk.in_(keys[start : start + 900])))
            found.update((row[0], Held(row[1], row[2], row[3])) for row in rows)
        return found

    def paces(self, nodes: Sequence[int], *, limit: int = 200) -> list[float]:
        """Seconds a record of the last tasks of *nodes* that ended, in order of size."""
        done = tasks.c.done + tasks.c.failed
        query = (
            select(tasks.c.seconds / done)
            .where(tasks.c.node.in_(nodes), tasks.c.state == TaskState.ENDED, done > 0)
            .order_by(tasks.c.pk.desc())
            .limit(limit)
        )
        return sorted(float(row[0]) for row in self.connection.execute(query))

    def activity(self, nodes: Sequence[int]) -> Activity:
        """What *nodes* have to do, and when a task of them last ended well, and a record of them last failed."""
        still = select(func.sum(func.length(tasks.c.open)), func.count(), func.min(tasks.c.created)).where(
            tasks.c.node.in_(nodes), tasks.c.state.in_([TaskState.READY, TaskState.SENT])
        )
        packed, count, oldest = self.connection.execute(still).one()
        well = select(func.max(tasks.c.ended)).where(
            tasks.c.node.in_(nodes), tasks.c.state == TaskState.ENDED, tasks.c.done > 0
        )
        failed = select(func.max(attempts.c.at)).where(attempts.c.node.in_(nodes))
        return Activity(
            records=int(packed or 0) // 8,
            tasks=int(count),
            oldest=oldest,
            last_success=self.connection.execute(well).scalar_one(),
            last_failure=self.connection.execute(failed).scalar_one(),
        )

    def offer(self, pipeline: str, stage: str, implementation: str, *, by: str, now: float) -> None:
        """Remember an implementation that only outside workers hold, and the token that permitted it."""
        key = ("pipeline", "stage", "implementation")
        values = {"pipeline": pipeline, "stage": stage, "implementation": implementation, "at": now, "by": by}
        self.connection.execute(insert_missing(offered, key=key, connection=self.connection).values(**values))

    def offers(self) -> list[Offered]:
        """Every implementation that only outside workers hold."""
        query = select(offered.c.pipeline, offered.c.stage, offered.c.implementation).order_by(offered.c.at)
        return [Offered(*row) for row in self.connection.execute(query)]


def _worker(row: object) -> StoredWorker:
    get = row.__getattribute__
    return StoredWorker(
        hello=_hello.decode(get("detail")),
        beat=_beat.decode(get("state")),
        first_seen=get("first_seen"),
        last_seen=get("last_seen"),
        last_progress=get("last_progress"),
        records=get("records"),
        seconds=get("seconds"),
        drain=bool(get("drain")),
    )
