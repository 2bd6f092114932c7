"""Expansions: from an inferrer's list of children to records, and what becomes of those that vanished."""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct, field

from limner.domain.digests import digest
from limner.domain.nodes import Node
from limner.domain.values import Value, decode, encode
from limner.engine.views import View
from limner.store.records import Child
from limner.store.store import Transaction

#: What a record that failed or was skipped is taken to have.
NO_CHILDREN = encode([])


class Expanded(Struct, frozen=True, kw_only=True):
    """What expansions made of some parents."""

    #: By parent: the encoded value of the stage and its digest, which covers the children.
    values: Mapping[int, tuple[bytes, bytes]] = field(default_factory=dict)
    #: Keys of children that are new, differ or live again, by collection.
    changed: Mapping[int, list[int]] = field(default_factory=dict)
    #: Keys of children that vanished, with their own, by collection.
    retired: Mapping[int, list[int]] = field(default_factory=dict)


def child_id(parent: str, *, maker: str, identity: Sequence[object]) -> str:
    """The id of a child: 16 hexadecimal digits over parent, what made it and what identifies it."""
    return digest([parent.encode(), maker.encode(), encode(list(identity))]).hex()[:16]


def expand(
    tx: Transaction, view: View, node: Node, answers: Mapping[int, bytes], *, served: Collection[int] | None = None
) -> Expanded:
    """
    Make the children that *answers* (encoded lists of fields, by parent) name; retire those that vanished.

    Children belong to the implementation that made them: another one never retires them. The value of the stage keeps
    the children's fields, so that :func:`expand_again` can serve an earlier version. Only the children of the parents
    *served* (all if None) are made: the others' answers are of a version that is not served.
    """
    children: dict[str, Child] = {}
    values: dict[int, tuple[bytes, bytes]] = {}
    parents = tx.records.load(sorted(answers))
    for key, answer in answers.items():
        parent = parents[key]
        made = decode(answer)
        mine = {child.id: child for child in _children(node, parent.id, key, parent.root or key, made)}
        if served is None or key in served:
            children |= mine
        covered = [part for child in mine.values() for part in (child.id.encode(), child.fields)]
        values[key] = (encode({"count": len(mine), "children": made}), digest(covered))
    changed, retired = _make(
        tx, view, node, list(children.values()), parents=sorted(answers if served is None else served)
    )
    return Expanded(values=values, changed=changed, retired=retired)


def expand_again(tx: Transaction, view: View, node: Node, keys: Sequence[int]) -> Expanded:
    """Make the children of the parents *keys* those that the stored values of the active version name."""
    if node.version is None:
        return Expanded()
    stored = tx.results.values(keys, node=node.pk, version=node.version)
    answers = {key: encode(children_of(decode(value))) for key, value in stored.items()}
    held = tx.results.held(keys, versions={node.pk: node.version}).get(node.pk, {})
    return expand(tx, view, node, answers | {key: NO_CHILDREN for key in held if key not in stored})


def children_of(value: Value) -> list[dict[str, Value]]:
    """The children that the value of an expansion names."""
    found: list[dict[str, Value]] = value["children"]
    return found


def _make(
    tx: Transaction, view: View, node: Node, children: Sequence[Child], *, parents: Sequence[int]
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Make *children*, all that *parents* have by *node*; keys that are new or differ, and that vanished."""
    collection = view.collections[str(node.stage.of)]
    named = {child.id for child in children}
    before = tx.records.children(parents, made_by=node.pk)
    gone = [record.pk for record in before if record.id not in named]
    taken = tx.records.make_children(collection, children, made_by=node.pk)
    changed = {collection: list(taken.changed)}
    retired = _families(tx, {collection: gone})
    tx.records.retire([key for keys in retired.values() for key in keys])
    again = sorted(set(taken.changed) - set(taken.added))
    for nested in view.expansions if again else ():
        if view.collections[nested.collection] == collection:
            # A child that lives again has its own children back.
            below = expand_again(tx, view, nested, again)
            _merge(changed, below.changed)
            _merge(retired, below.retired)
    return changed, retired


def _families(tx: Transaction, gone: Mapping[int, list[int]]) -> dict[int, list[int]]:
    """*gone*, by collection, with all that expansions made of them."""
    found = {collection: list(keys) for collection, keys in gone.items()}
    level = [key for keys in gone.values() for key in keys]
    while level:
        made = [record for record in tx.records.children(level) if record.made_by is not None]
        _merge(found, {record.collection: [] for record in made})
        for record in made:
            found[record.collection].append(record.pk)
        level = [record.pk for record in made]
    return found


def _merge(into: dict[int, list[int]], more: Mapping[int, Sequence[int]]) -> None:
    for collection, keys in more.items():
        into.setdefault(collection, []).extend(keys)


def _children(node: Node, parent: str, key: int, root: int, answer: list[dict[str, object]]) -> list[Child]:
    maker = f"{node.implementation} {node.variant}".rstrip()
    return [
        Child(
            id=child_id(parent, maker=maker, identity=[child.get(name) for name in node.stage.identity]),
            parent=key,
            root=root,
            fields=encode(child),
        )
        for child in answer
    ]
