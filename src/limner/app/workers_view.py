"""Who works for a project, and who serves what: what ``limner workers`` and the API show."""

from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct

from limner.app.percentiles import percentile
from limner.domain.workers import Liveness
from limner.store.store import Store, Transaction
from limner.store.workers import Served, ServedBy, StoredWorker

#: Workers that were not heard of for so long are shown no more.
_SHOWN = timedelta(days=1)


class Serves(Struct, frozen=True, kw_only=True):
    """One implementation that a worker serves."""

    #: ``pipeline.stage/implementation``.
    address: str
    #: Digest of the version that it serves; empty where the server knows none such.
    version: str
    ready: bool


class WorkerView(Struct, frozen=True, kw_only=True):
    """One worker as it is seen now."""

    id: str
    state: Liveness
    hostname: str
    software: str
    version: str
    platform: str
    gpu: str | None
    slurm_job_id: str | None
    ip: str
    client: str
    first_seen: float
    last_seen: float
    #: When it last answered for a record.
    last_progress: float | None
    #: Tasks that it holds, as it said last.
    busy: list[int]
    records: int
    records_per_minute: float | None
    rss_bytes: int | None
    gpu_bytes: int | None
    #: It was asked to stop after what it has in hand.
    drain: bool
    serves: list[Serves]


class ImplementationView(Struct, frozen=True, kw_only=True):
    """One implementation, and who serves it."""

    address: str
    #: Workers that were heard of within two heartbeats, and those of them whose inferrer can be called.
    live: int
    ready: int
    last_seen: float | None
    #: Records and tasks that are open, and the age of the oldest task in seconds.
    backlog: int
    tasks: int
    oldest_s: float | None
    #: Seconds a record, over the last tasks that ended.
    p50_s: float | None
    p95_s: float | None
    last_success: float | None
    last_failure: float | None


class WorkersView(Struct, frozen=True, kw_only=True):
    """Workers, and implementations that have workers or work."""

    workers: list[WorkerView]
    implementations: list[ImplementationView]


def workers_view(store: Store, *, now: float) -> WorkersView:
    """Who works, and who serves what, as of *now*."""
    with store.reading() as tx:
        found = tx.workers.listing(seen_since=now - _SHOWN.total_seconds())
        served = tx.workers.served_by()
        serving = tx.workers.serving(now=now)
        nodes: dict[str, list[int]] = {}
        for node in tx.nodes.all():
            if not node.retired:
                nodes.setdefault(f"{node.pipeline}.{node.stage}/{node.implementation}", []).append(node.pk)
        seen = [_implementation(tx, a, nodes.get(a, []), serving, now=now) for a in sorted(nodes.keys() | serving)]
    return WorkersView(workers=[_worker(one, served, now=now) for one in found], implementations=seen)


def _worker(stored: StoredWorker, served: Sequence[ServedBy], *, now: float) -> WorkerView:
    hello, beat = stored.hello, stored.beat
    minutes = ((stored.last_progress or stored.first_seen) - stored.first_seen) / 60
    return WorkerView(
        id=hello.worker_id,
        state=stored.liveness(now=now),
        hostname=hello.hostname,
        software=hello.software,
        version=hello.version,
        platform=hello.platform,
        gpu=hello.gpu,
        slurm_job_id=hello.slurm_job_id,
        ip=hello.ip,
        client=hello.client,
        first_seen=stored.first_seen,
        last_seen=stored.last_seen,
        last_progress=stored.last_progress,
        busy=beat.busy,
        records=stored.records,
        records_per_minute=stored.records / minutes if minutes > 0 else None,
        rss_bytes=beat.rss_bytes,
        gpu_bytes=beat.gpu_bytes,
        drain=stored.drain,
        serves=[
            Serves(address=one.address, version=one.version, ready=one.ready)
            for one in served
            if one.worker == hello.worker_id
        ],
    )


def _implementation(
    tx: Transaction, address: str, nodes: Sequence[int], serving: dict[str, Served], *, now: float
) -> ImplementationView:
    who = serving.get(address, Served())
    doing = tx.workers.activity(nodes)
    paces = tx.workers.paces(nodes)
    return ImplementationView(
        address=address,
        live=who.live,
        ready=who.ready,
        last_seen=who.last_seen,
        backlog=doing.records,
        tasks=doing.tasks,
        oldest_s=None if doing.oldest is None else max(0.0, now - doing.oldest),
        p50_s=percentile(paces, 0.5),
        p95_s=percentile(paces, 0.95),
        last_success=doing.last_success,
        last_failure=doing.last_failure,
    )
