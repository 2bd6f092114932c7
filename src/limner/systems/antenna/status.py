"""Where a request stands: exact counts, what each step did, why it waits, and where its callback stands."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

from msgspec import structs

from limner.app.hosting import Host
from limner.app.jobs_view import JobProgress, StageProgress, job_progress
from limner.domain.jobs import Fate, Job
from limner.domain.values import Value
from limner.engine.views import View
from limner.store.progress import Span
from limner.store.store import Transaction
from limner.systems.antenna.callback import told_with
from limner.systems.antenna.status_words import counts_of, error_of, has_begun, moment, span_of, status_of
from limner.systems.antenna.wire_stages import INTERNAL, STAGES

_ACTIONS = ("items", "results", "errors", "callbacks", "events", "cancel", "retry", "redeliver")
#: Parts of ledgers whose failures are remembered.
_REMEMBERED = 20_000


class Failures:
    """
    Counts failures of requests by their codes, a part of the ledger at a time; shared by threads.

    A part is looked at again only when a fate in it changed, so that a look at a large request costs little.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[object, ...], Mapping[str, int]] = OrderedDict()

    def by_code(self, tx: Transaction, view: View, job: Job) -> dict[str, int]:
        """How many pictures of *job* failed, by why."""
        found: Counter[str] = Counter()
        for part in tx.ledger.pages(job.id, having=Fate.FAILED):
            failed = tuple(key for key, fate in part.items() if fate is Fate.FAILED)
            mark = (job.id, job.round, hash(failed))
            with self._lock:
                known = self._known.get(mark)
            if known is None:
                known = _codes(tx, view, failed)
                with self._lock:
                    self._known[mark] = known
                    while len(self._known) > _REMEMBERED:
                        self._known.popitem(last=False)
            found.update(known)
        return dict(sorted(found.items()))


def status_in(tx: Transaction, host: Host, view: View, job: Job, *, failures: Failures) -> dict[str, Value]:
    """Where *job* stands at the moment of a transaction."""
    detail = told_with(job)
    progress = _progress(tx, host, view, job)
    span, counts = span_of(tx, view, job), progress.counts
    begun = has_begun(counts, in_hand=span.begun)
    status = status_of(job, begun=begun)
    return {
        "requestId": job.id,
        "jobId": detail.get("job_id", job.id),
        "projectId": detail.get("project_id", host.name),
        "status": status,
        "progress": progress.progress,
        "counts": counts_of(job, counts, waiting=_waiting(progress, begun=begun)),
        "waitingReason": progress.waiting_reason,
        "stages": _stages(progress, detail.get("steps", ())),
        "failuresByCode": failures.by_code(tx, view, job) if counts.failed else {},
        "callback": _callback(tx, job.id),
        "createdAt": moment(job.created),
        "startedAt": moment(span.first),
        "updatedAt": moment(_updated(job, span)),
        "finishedAt": moment(job.ended),
        "expiresAt": moment(job.expires),
        "round": job.round,
        "warnings": _warnings(job, detail),
        "links": {"self": f"/requests/{job.id}", **{name: f"/requests/{job.id}/{name}" for name in _ACTIONS}},
    }


def _progress(tx: Transaction, host: Host, view: View, job: Job) -> JobProgress:
    """How far *job* is in the steps that were asked for; those that came with them count where only they are open."""
    asked = structs.replace(view, nodes=tuple(node for node in view.nodes if node.stage.name not in INTERNAL))
    found = job_progress(tx, asked, job, now=host.clock.now(), served_here=host.serves, trouble=host.bus_trouble)
    if found.waiting_reason is None and found.counts.open and not any(stage.open for stage in found.stages):
        whole = job_progress(tx, view, job, now=host.clock.now(), served_here=host.serves, trouble=host.bus_trouble)
        return structs.replace(found, waiting_reason=whole.waiting_reason)
    return found


def _codes(tx: Transaction, view: View, failed: Sequence[int]) -> Mapping[str, int]:
    """Why pictures failed: how many by which code."""
    root_of = {key: key for key in failed}
    root_of |= {key: root for root, _, key in tx.records.descendants(list(failed), but_of=view.others)}
    said: dict[int, list[Value]] = {key: [] for key in failed}
    for one in tx.progress.said(sorted(root_of), versions=view.versions):
        if one.failure is not None:
            said[root_of[one.record]].append(one)
    errors = (error_of(view, of_picture) for of_picture in said.values())
    return Counter("MODEL_ERROR" if error is None else str(error["code"]) for error in errors)


def _waiting(progress: JobProgress, *, begun: bool) -> int:
    """How many pictures nobody looked at yet: all of them, or those that still wait in tasks of a detector."""
    if not begun:
        return progress.counts.open
    return sum(stage.open for stage in progress.stages if stage.stage == "detect")


def _stages(progress: JobProgress, steps: Sequence[Mapping[str, Value]]) -> list[dict[str, Value]]:
    """The steps that were asked for, in the words of whoever asked."""
    asked = {(STAGES.get(step["stage"]), step["implementation"]): step for step in steps}
    found = []
    for stage in progress.stages:
        step = asked.get((stage.stage, stage.implementation))
        if step is None and stage.stage == "detect" and steps and not _of_any(stage):
            # A way to take boxes as given, in a request in which none were.
            continue
        found.append(_stage(stage, step))
    return found


def _stage(stage: StageProgress, step: Mapping[str, Value] | None) -> dict[str, Value]:
    names = {own: wire for wire, own in STAGES.items()}
    return {
        "stage": names.get(stage.stage, stage.stage),
        "implementation": stage.implementation,
        "asked": stage.implementation if step is None else step["asked"],
        "counts": {
            "total": stage.done + stage.failed + stage.skipped + stage.open,
            "open": stage.open,
            "completed": stage.done,
            "failed": stage.failed,
            "skipped": stage.skipped,
            "elsewhere": stage.elsewhere,
        },
        "ratePerMinute": stage.rate_per_minute,
        "etaSeconds": stage.eta_seconds,
        "workersLive": stage.workers_live,
        "lastSeen": moment(stage.last_seen),
    }


def _of_any(stage: StageProgress) -> bool:
    return bool(stage.done or stage.failed or stage.open)


def _callback(tx: Transaction, job: str) -> dict[str, Value]:
    """Where the callback of a request stands; ``pending`` from the moment that it is due."""
    asked = tx.callbacks.find(job)
    standing = tx.deliveries.standing(job)
    state = standing.state
    if state == "none" and asked is not None and asked.due is not None:
        state = "pending"
    return {
        "state": state,
        "tries": standing.tries,
        "lastStatus": standing.last_status,
        "nextTryAt": moment(standing.next_try_at),
    }


def _updated(job: Job, span: Span) -> float:
    return max(at for at in (job.created, span.last, job.ended) if at is not None)


def _warnings(job: Job, detail: Mapping[str, Value]) -> list[str]:
    found = list(detail.get("warnings", ()))
    if job.set_aside:
        found.append(f"{job.set_aside} lines became no picture; {job.id}/errors tells which, and why")
    return found
