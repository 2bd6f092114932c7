"""What follows from children that were made, changed or retired."""

from collections.abc import Sequence

from limner.engine.assessing import Assessment
from limner.engine.expansion import Expanded
from limner.engine.marks import enroll, mark_gone
from limner.engine.planner import Planner
from limner.engine.views import View
from limner.store.store import Transaction


def plan_children(
    tx: Transaction, view: View, planner: Planner, expanded: Expanded, *, job: str | None
) -> list[Assessment]:
    """Plan the children that are new or differ, what reads their fields, and the groups that gained or lost some."""
    found = []
    for collection, keys in expanded.changed.items():
        if keys:
            found.append(planner.plan(tx, view, collection, keys, job=job))
            enroll(tx, view, collection, keys, job=job)
            found += plan_below(tx, view, planner, keys, job=job)
    for collection, keys in expanded.retired.items():
        mark_gone(tx, view, collection, keys, job=job)
    return found


def plan_families(
    tx: Transaction, view: View, planner: Planner, roots: Sequence[int], *, job: str | None, priority: int = 0
) -> list[Assessment]:
    """Plan what is stale of all that expansions have made of *roots*, and look at the groups that it is in."""
    by_collection: dict[int, list[int]] = {}
    for _, collection, key in tx.records.descendants(list(roots)):
        by_collection.setdefault(collection, []).append(key)
    found = []
    for collection, keys in by_collection.items():
        found.append(planner.plan(tx, view, collection, sorted(keys), job=job, priority=priority))
        enroll(tx, view, collection, keys, job=job)
    return found


def plan_below(
    tx: Transaction, view: View, planner: Planner, parents: list[int], *, job: str | None
) -> list[Assessment]:
    """Plan the records that read fields of *parents*, which changed."""
    found = []
    for name in sorted({node.collection for node in view.parent_readers()} if parents else ()):
        collection = view.collections[name]
        keys = [record.pk for record in tx.records.children(parents, collection=collection)]
        if keys:
            found.append(planner.plan(tx, view, collection, keys, job=job))
    return found


def journal_children(tx: Transaction, expanded: Expanded, *, at: float) -> None:
    """Append to the journal which children were made, changed or retired."""
    for collection in {*expanded.changed, *expanded.retired}:
        keys = [*expanded.changed.get(collection, []), *expanded.retired.get(collection, [])]
        if keys:
            tx.journal.write(collection, keys, kind="records", at=at)
