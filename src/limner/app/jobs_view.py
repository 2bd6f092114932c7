"""Jobs as whoever waits for them sees them: exact counts, what each stage did, and why nothing goes on."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field, structs

from limner.app.submitting import OWN_NOTES
from limner.domain.jobs import Counts, Job
from limner.domain.nodes import Node
from limner.domain.values import Value
from limner.engine.dispatcher import address_of
from limner.engine.views import View
from limner.store.progress import StageTally
from limner.store.store import Transaction
from limner.store.workers import Served

#: Seconds that the rate of a stage is taken over.
WINDOW = 300.0
_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class StageProgress(Struct, frozen=True, kw_only=True):
    """How far one implementation of one stage went in a job; what another job's tasks did for it is not in it."""

    stage: str
    implementation: str
    collection: str
    done: int
    failed: int
    skipped: int
    #: Records in its tasks that have not ended.
    open: int
    #: Records of the job that are in no task of its own: what is known of them was reused, another job's task is at it,
    #: or a step before decides. None where it is about children, which nobody counts beforehand.
    elsewhere: int | None
    tasks: int
    #: Records that ended a minute, over the last five.
    rate_per_minute: float
    #: Seconds until what is open has ended at that rate; None where nothing ended lately.
    eta_seconds: float | None
    workers_live: int
    #: When a worker of it was last heard of; None where none ever was, or it is served by this server itself.
    last_seen: float | None


class Listed(Struct, frozen=True, kw_only=True):
    """A job as a listing shows it."""

    id: str
    pipeline: str
    state: str
    round: int
    #: Ended records of all: ``2/6``.
    progress: str
    counts: Counts
    set_aside: int
    priority: int
    created: float
    ended: float | None
    expires: float | None


class JobProgress(Listed, frozen=True, kw_only=True):
    """Where a job stands; its counts add up in every read."""

    inferred: int
    reused: int
    downloads: int
    #: Whether all its records are known.
    sealed: bool
    choices: Mapping[str, Sequence[str]]
    detail: Mapping[str, Value]
    #: Why nothing of it goes on; None where something does, or it has ended.
    waiting_reason: str | None = None
    stages: list[StageProgress] = field(default_factory=list)


def listed_of(tx: Transaction, job: Job) -> Listed:
    """*job* as a listing shows it."""
    counts = tx.ledger.counts(job.id)
    return Listed(
        id=job.id,
        pipeline=job.pipeline,
        state=job.state.value,
        round=job.round,
        progress=f"{counts.records - counts.open}/{counts.records}",
        counts=counts,
        set_aside=job.set_aside,
        priority=job.priority,
        created=job.created,
        ended=job.ended,
        expires=job.expires,
    )


def job_progress(
    tx: Transaction,
    view: View,
    job: Job,
    *,
    now: float,
    served_here: Callable[[str], bool],
    trouble: str | None = None,
) -> JobProgress:
    """
    Where *job* stands, stage by stage.

    *served_here* says of an address whether this process has a worker for it; *trouble* is what keeps messages from
    moving, if anything does.
    """
    line = listed_of(tx, job)
    tallies = tx.progress.by_node(job=job.id, since=now - WINDOW)
    serving = tx.workers.serving(now=now)
    stages = [
        _stage(
            view,
            node,
            tallies.get(node.pk) or StageTally(node.pk),
            records=line.counts.records,
            serving=serving,
            served_here=served_here,
        )
        for node in view.nodes
    ]
    return JobProgress(
        **structs.asdict(line),
        inferred=job.inferred,
        reused=job.reused,
        downloads=job.downloads,
        sealed=job.sealed,
        choices=job.choices,
        detail={name: value for name, value in job.detail.items() if name not in OWN_NOTES},
        waiting_reason=None
        if job.state.ended
        else _waiting(tx, view, job, stages=stages, counts=line.counts, now=now, trouble=trouble),
        stages=stages,
    )


def _stage(
    view: View,
    node: Node,
    tally: StageTally,
    *,
    records: int,
    serving: Mapping[str, Served],
    served_here: Callable[[str], bool],
) -> StageProgress:
    address = address_of(view, node)
    seen = serving.get(address, Served())
    rate = tally.recent * 60 / WINDOW
    own = tally.done + tally.failed + tally.skipped + tally.open
    return StageProgress(
        stage=node.stage.name,
        implementation=node.implementation,
        collection=node.collection,
        done=tally.done,
        failed=tally.failed,
        skipped=tally.skipped,
        open=tally.open,
        # A round that is tried again has tasks for records that had tasks before.
        elsewhere=max(0, records - own) if node.collection == view.pipeline.collection else None,
        tasks=tally.tasks,
        rate_per_minute=round(rate, 3),
        eta_seconds=round(tally.open * 60 / rate, 1) if rate else None,
        workers_live=seen.live + int(served_here(address)),
        last_seen=seen.last_seen,
    )


def _waiting(
    tx: Transaction,
    view: View,
    job: Job,
    *,
    stages: Sequence[StageProgress],
    counts: Counts,
    now: float,
    trouble: str | None,
) -> str | None:
    """Why nothing of a job goes on, as far as that can be told."""
    waiting = [stage for stage in stages if stage.open]
    # A record whose fate is known may still be waited for by a step that is not required.
    if not counts.open and not waiting:
        return None if job.sealed else "its records are still being taken in"
    if trouble:
        # Heartbeats go the same way, so that workers would look as if they were gone.
        return f"no message moves: {trouble}"
    for stage in waiting:
        if not stage.workers_live:
            seen = "never seen" if stage.last_seen is None else f"last seen {_ago(now - stage.last_seen)} ago"
            return f"no live worker for {stage.stage}/{stage.implementation} ({seen})"
    unready = _not_ready(view, serving=tx.workers.serving(now=now), waiting=waiting)
    if unready:
        return unready
    if tx.progress.any_sent(job=job.id):
        return None
    names = {(stage.stage, stage.implementation) for stage in waiting}
    nodes = [node.pk for node in view.nodes if (node.stage.name, node.implementation) in names]
    ahead = tx.progress.ahead(nodes, job=job.id, since=now)
    return f"queued behind {ahead:,} records" if ahead else None


def _not_ready(view: View, *, serving: Mapping[str, Served], waiting: Sequence[StageProgress]) -> str | None:
    for stage in waiting:
        seen = serving.get(f"{view.pipeline.name}.{stage.stage}/{stage.implementation}")
        if seen is not None and seen.live == stage.workers_live and not seen.ready:
            return f"no worker for {stage.stage}/{stage.implementation} is ready: its model or service is not"
    return None


def _ago(seconds: float) -> str:
    size, unit = next(((size, unit) for size, unit in _AGES if seconds >= size), _AGES[-1])
    return f"{int(seconds // size)} {unit}"
