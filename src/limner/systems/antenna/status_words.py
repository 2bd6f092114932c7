"""The words of the facade for where requests, pictures and steps stand."""

from collections.abc import Mapping
from datetime import UTC, datetime

from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import Counts, Fate, Job, JobState
from limner.domain.retry import default_attempts
from limner.domain.values import Value
from limner.engine.views import View
from limner.store.progress import Said, Span
from limner.store.store import Transaction
from limner.systems.antenna.wire_stages import INTERNAL, WIRE_NAMES

WAITING, PROCESSING = "WAITING", "PROCESSING"
COMPLETED, FAILED, CANCELLED, EXPIRED = "COMPLETED", "FAILED", "CANCELLED", "EXPIRED"
_STATES: Mapping[JobState, str] = {
    JobState.WAITING: WAITING,
    JobState.RUNNING: PROCESSING,
    JobState.CANCELLING: "CANCELLING",
    JobState.DONE: COMPLETED,
    JobState.DONE_WITH_FAILURES: "COMPLETED_WITH_FAILURES",
    JobState.FAILED: FAILED,
    JobState.CANCELLED: CANCELLED,
    JobState.EXPIRED: EXPIRED,
}
_FATES: Mapping[Fate, str] = {Fate.DONE: COMPLETED, Fate.SKIPPED: COMPLETED, Fate.FAILED: FAILED}


def status_of(job: Job, *, begun: bool) -> str:
    """Where a request stands; *begun* says whether a worker has, or had, anything of it in hand."""
    if job.state is JobState.RUNNING and not begun:
        return WAITING
    return _STATES[job.state]


def span_of(tx: Transaction, view: View, job: Job) -> Span:
    """When the steps that clients know were worked on; what the server does by itself makes no request begin."""
    nodes = [node.pk for node in view.nodes if node.stage.name not in INTERNAL]
    return tx.progress.span(job.id, nodes=nodes)


def has_begun(counts: Counts, *, in_hand: bool) -> bool:
    """Whether anything of a request happened: a worker has something of it in hand, or a picture has ended."""
    return in_hand or counts.open < counts.records


def fate_of(fate: Fate, job: Job, *, begun: bool = True) -> str:
    """Where a picture stands; *begun* says of an open one whether anybody looked at it."""
    if fate is Fate.OPEN:
        return PROCESSING if begun else WAITING
    if fate is Fate.CANCELLED:
        return EXPIRED if job.state is JobState.EXPIRED else CANCELLED
    return _FATES[fate]


def counts_of(job: Job, counts: Counts, *, waiting: int) -> dict[str, int]:
    """How many pictures stand where; they add up. *waiting* is how many of the open ones nobody looked at yet."""
    waiting = min(waiting, counts.open)
    expired = job.state is JobState.EXPIRED
    return {
        "total": counts.records,
        "waiting": waiting,
        "processing": counts.open - waiting,
        "completed": counts.done + counts.skipped,
        "failed": counts.failed,
        "cancelled": 0 if expired else counts.cancelled,
        "expired": counts.cancelled if expired else 0,
    }


def error_of(view: View, said: list[Said]) -> dict[str, Value] | None:
    """
    Why a picture failed, by what was said of it and of its detections.

    What failed by itself comes before what only followed from that; what a client did not ask for is not told.
    """
    order = {node.pk: at for at, node in enumerate(view.nodes)}
    failed = [
        (one.failure.code is FailureCode.UPSTREAM_FAILED, order[one.node], one)
        for one in said
        if one.failure is not None and one.node in order and _told(view, one)
    ]
    if not failed:
        return None
    _, _, first = min(failed, key=lambda item: item[:2])
    node, failure = view.node(first.node), first.failure
    assert node is not None
    assert failure is not None
    return error(
        failure, stage=node.stage.name, implementation=node.implementation, attempt=first.tried, worker=first.worker
    )


def error(
    failure: Failure, *, stage: str | None, implementation: str | None, attempt: int, worker: str | None
) -> dict[str, Value]:
    """A failure as callback, status and error file tell it."""
    return {
        "code": failure.code.value,
        "message": failure.message,
        "stage": None if stage is None else WIRE_NAMES.get(stage, stage),
        "implementation": implementation,
        "attempt": attempt,
        "worker": worker,
        "retryable": default_attempts().get(failure.code, 1) > 1,
    }


def stopped(job: Job) -> dict[str, Value]:
    """Why a picture of a request that was stopped has no result."""
    if job.state is JobState.EXPIRED:
        failure = Failure(code=FailureCode.EXPIRED, message="The completion window was over first.")
    else:
        failure = Failure(code=FailureCode.CANCELLED, message="The request was stopped first.")
    return error(failure, stage=None, implementation=None, attempt=0, worker=None)


def moment(at: float | None) -> str | None:
    """A moment as ISO 8601 in UTC."""
    return (
        None
        if at is None
        else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _told(view: View, said: Said) -> bool:
    node = view.node(said.node)
    return node is not None and node.stage.name not in INTERNAL and node.stage.name != "track"
