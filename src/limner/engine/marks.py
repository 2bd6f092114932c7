"""Who belongs to which group, and which groups a change touched: those are marked, to be looked at."""

from collections.abc import Mapping, Sequence

from limner.domain.nodes import Node
from limner.engine.views import View
from limner.store.store import Transaction


def enroll(tx: Transaction, view: View, collection: int, keys: Sequence[int], *, job: str | None) -> None:
    """
    Let records that are new or changed join their groups, and mark the groups that they joined or left.

    The groups that they hold are marked too: one without members is skipped with that reason.
    """
    for node in view.gathers:
        if view.collections[node.collection] == collection:
            tx.groups.mark(node.pk, keys, job=job)
        if view.collections[str(node.stage.of)] != collection:
            continue
        if node.stage.by == "parent":
            tx.groups.mark(node.pk, _parents(tx, keys), job=job)
        else:
            tx.groups.mark(node.pk, _join(tx, node, keys), job=job)


def _join(tx: Transaction, node: Node, keys: Sequence[int]) -> set[int]:
    """Set the groups of members by their field; the holders they joined and left."""
    named: dict[int, str] = {}
    nameless: list[int] = []
    for key, record in tx.records.load(keys).items():
        value = record.values().get(str(node.stage.by))
        if value is None:
            nameless.append(key)
        else:
            named[key] = str(value)
    holders = tx.records.stubs(node.collection, sorted(set(named.values())))
    members = [(key, holders[name]) for key, name in named.items()]
    left = tx.groups.join(node.pk, members) | tx.groups.leave(node.pk, nameless)
    return left | {holder for _, holder in members}


def mark_touched(tx: Transaction, view: View, touched: Mapping[int, set[int]], *, job: str | None) -> None:
    """Mark the groups whose members' results, or whose expansions, moved; *touched* is keys by node."""
    for node in view.gathers:
        read = node.upstream & set(touched)
        members = sorted(set().union(*(touched[pk] for pk in read))) if read else []
        holders = _holders(tx, node, members)
        for made in view.expansions:
            if made.pk in touched and made.stage.of == node.stage.of and made.collection == node.collection:
                holders |= touched[made.pk]
        tx.groups.mark(node.pk, holders, job=job)


def mark_gone(tx: Transaction, view: View, collection: int, keys: Sequence[int], *, job: str | None) -> None:
    """Mark the groups that lost the members *keys*, records of one collection."""
    for node in view.gathers:
        if view.collections[str(node.stage.of)] == collection:
            tx.groups.mark(node.pk, _holders(tx, node, keys), job=job)


def mark_left(tx: Transaction, view: View, parents: Sequence[int], *, job: str | None) -> None:
    """Mark the groups of parents that records left for other ones."""
    for node in view.gathers:
        if node.stage.by == "parent":
            tx.groups.mark(node.pk, parents, job=job)


def _holders(tx: Transaction, node: Node, members: Sequence[int]) -> set[int]:
    if node.stage.by == "parent":
        return _parents(tx, members)
    return set(tx.groups.holders(node.pk, members).values())


def _parents(tx: Transaction, keys: Sequence[int]) -> set[int]:
    return {record.parent for record in tx.records.load(keys).values() if record.parent is not None}
