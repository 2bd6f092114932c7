"""Pages of a request: its pictures step by step, its results, what has none, and the tries of its callback."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import msgspec

from limner.app.hosting import Host
from limner.app.job_items import Item, ItemStage
from limner.app.job_items import items_of as job_items
from limner.domain.jobs import Fate, Job
from limner.domain.values import Value, plain
from limner.engine.views import View
from limner.store.progress import START, Place, Said
from limner.store.store import Transaction
from limner.systems.antenna.callback import body_in
from limner.systems.antenna.status_words import (
    CANCELLED,
    COMPLETED,
    EXPIRED,
    FAILED,
    PROCESSING,
    WAITING,
    error_of,
    fate_of,
    moment,
    stopped,
)
from limner.systems.antenna.wire_images import source_of
from limner.systems.antenna.wire_stages import INTERNAL, WIRE_NAMES

_STATUSES: Mapping[str, str] = {"done": COMPLETED, "failed": FAILED, "skipped": "SKIPPED", "open": WAITING}
_HAVING: Mapping[str, tuple[Fate, ...]] = {
    WAITING: (Fate.OPEN,),
    PROCESSING: (Fate.OPEN,),
    COMPLETED: (Fate.DONE, Fate.SKIPPED),
    FAILED: (Fate.FAILED,),
    CANCELLED: (Fate.CANCELLED,),
    EXPIRED: (Fate.CANCELLED,),
}
_FATES: Mapping[str, Fate] = {fate.name.lower(): fate for fate in Fate}
_PAGE = 500


def items_of(
    tx: Transaction, view: View, job: Job, *, after: Place, limit: int, only: Collection[str] | None
) -> tuple[list[dict[str, Value]], Place | None]:
    """
    The next pictures of a request with what became of them in each step, and where the page after them begins.

    Of *only* some statuses a page may be shorter than *limit* though more pages follow.
    """
    having = None if only is None else sorted({fate for status in only for fate in _HAVING[status]})
    found, following = job_items(tx, view, job.id, after=after, limit=limit, having=having)
    failed = _errors(tx, view, [item for item in found if item.status == "failed"])
    told = [_item(job, item, error=failed.get(item.id)) for item in found]
    return [item for item in told if only is None or item["status"] in only], following


def results_of(
    tx: Transaction, host: Host, view: View, job: Job, *, after: Place, limit: int
) -> tuple[dict[str, Value], Place | None]:
    """The next pictures of a request in the form of its callback, no more than one callback may hold."""
    page = tx.progress.page(job.id, after=after, limit=limit)
    whole = len(page) == limit
    while True:
        found: dict[str, Value] = plain(body_in(tx, host, view, job, [key for _, key, _ in page]))
        if len(page) < 2 or len(msgspec.json.encode(found)) <= host.app.settings.callback_max_bytes:
            return found, page[-1][0] if page and whole else None
        page, whole = page[: len(page) // 2], True


def errors_of(
    tx: Transaction, view: View, job: Job, *, after: Place = START
) -> tuple[list[dict[str, Value]], Place | None]:
    """The next pictures without a result, each with why."""
    page = tx.progress.page(job.id, after=after, limit=_PAGE, having=[Fate.FAILED, Fate.CANCELLED])
    records = tx.records.load([key for _, key, _ in page])
    failed = _errors_by_key(tx, view, [key for _, key, fate in page if fate is Fate.FAILED])
    found = [
        {
            "sourceImageId": source_of(records[key].id),
            "status": fate_of(fate, job),
            "error": failed.get(key) if fate is Fate.FAILED else stopped(job),
        }
        for _, key, fate in page
    ]
    return found, page[-1][0] if len(page) == _PAGE else None


def callbacks_of(tx: Transaction, job: str) -> dict[str, Value]:
    """Every page of a callback, those that a later round superseded included, with every try."""
    found = []
    for page in tx.deliveries.listing(job):
        tries = [
            {"at": moment(one.at), "status": one.status, "error": one.error, "seconds": round(one.seconds, 3)}
            for one in tx.deliveries.tries(page.pk)
        ]
        found.append(
            {
                "webhookId": page.webhook_id,
                "page": {"n": page.page, "of": page.pages},
                "round": page.round,
                "state": page.state.name.lower(),
                "images": page.records,
                "tries": tries,
                "nextTryAt": moment(page.next_at) if page.state.name == "PENDING" else None,
            }
        )
    return {"items": found}


def _item(job: Job, item: Item, *, error: dict[str, Value] | None) -> dict[str, Value]:
    fate = _FATES[item.status]
    begun = any(stage.status == "done" for stage in item.stages if stage.stage not in INTERNAL)
    return {
        "sourceImageId": source_of(item.id),
        "status": fate_of(fate, job, begun=begun),
        "error": stopped(job) if fate is Fate.CANCELLED else error,
        "stages": [_stage(job, stage, fate) for stage in item.stages if stage.stage not in INTERNAL],
        "lastUpdated": moment(item.last_updated),
    }


def _stage(job: Job, stage: ItemStage, fate: Fate) -> dict[str, Value]:
    """What became of a picture in one step; of a step over detections, of all of them together."""
    return {
        "stage": WIRE_NAMES.get(stage.stage, stage.stage),
        "implementation": stage.implementation,
        "status": _together(job, stage, fate) if stage.status == "counts" else _STATUSES.get(stage.status, CANCELLED),
        "attempt": stage.attempt,
        "worker": stage.worker,
        "counts": dict(stage.counts) or None,
    }


def _together(job: Job, stage: ItemStage, fate: Fate) -> str:
    """Where a step over detections stands: failed where one failed, open while one is."""
    counts = stage.counts
    if counts.get("failed"):
        return FAILED
    if fate is Fate.OPEN and counts.get("open"):
        return PROCESSING if counts.get("done") else WAITING
    if counts.get("done"):
        return COMPLETED
    if fate is Fate.CANCELLED:
        return fate_of(fate, job)
    if fate is Fate.OPEN:
        return WAITING
    return "SKIPPED" if counts.get("skipped") or fate is Fate.FAILED else COMPLETED


def _errors(tx: Transaction, view: View, failed: Sequence[Item]) -> dict[str, dict[str, Value] | None]:
    """Why pictures failed, by the ids of their captures."""
    keys = tx.records.keys(view.root, [item.id for item in failed])
    found = _errors_by_key(tx, view, list(keys.values()))
    return {identity: found[key] for identity, key in keys.items()}


def _errors_by_key(tx: Transaction, view: View, keys: Sequence[int]) -> dict[int, dict[str, Value] | None]:
    """Why pictures failed."""
    root_of = {key: key for key in keys}
    root_of |= {key: root for root, _, key in tx.records.descendants(list(keys), but_of=view.others)}
    said: dict[int, list[Said]] = defaultdict(list)
    for one in tx.progress.said(sorted(root_of), versions=view.versions):
        if one.failure is not None:
            said[root_of[one.record]].append(one)
    return {key: error_of(view, said[key]) for key in keys}
