"""Expansions: from an inferrer's list of children to records, and what becomes of those that vanished."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from limner.domain.assessment import Node
from limner.domain.digests import digest
from limner.domain.values import decode, encode
from limner.engine.views import View
from limner.store.records import Child
from limner.store.store import Transaction


class Expanded(Struct, frozen=True, kw_only=True):
    """What expansions made of some parents."""

    #: By parent: the encoded value of the stage and its digest, which covers the children.
    values: Mapping[int, tuple[bytes, bytes]] = field(default_factory=dict)
    #: Keys of children that are new or differ.
    changed: Sequence[int] = ()
    #: Keys of children that vanished.
    retired: Sequence[int] = ()


def child_id(parent: str, *, implementation: str, identity: Sequence[object]) -> str:
    """The id of a child: 16 hexadecimal digits over parent, implementation and what identifies it."""
    return digest([parent.encode(), implementation.encode(), encode(list(identity))]).hex()[:16]


def expand(tx: Transaction, view: View, node: Node, answers: Mapping[int, bytes]) -> Expanded:
    """
    Make the children that *answers* (encoded lists of fields, by parent) name; retire those that vanished.

    Children belong to the implementation that made them: another one never retires them.
    """
    collection = view.collections[str(node.stage.of)]
    parents = tx.records.load(sorted(answers))
    children: dict[str, Child] = {}
    values: dict[int, tuple[bytes, bytes]] = {}
    for key, answer in answers.items():
        parent = parents[key]
        mine = {child.id: child for child in _children(node, parent.id, key, parent.root or key, decode(answer))}
        children |= mine
        covered = [part for child in mine.values() for part in (child.id.encode(), child.fields)]
        values[key] = (encode({"count": len(mine)}), digest(covered))
    before = tx.records.children(sorted(answers), made_by=node.pk)
    gone = [record.pk for record in before if record.id not in children]
    taken = tx.records.make_children(collection, list(children.values()), made_by=node.pk)
    tx.records.retire(gone)
    return Expanded(values=values, changed=taken.changed, retired=gone)


def _children(node: Node, parent: str, key: int, root: int, answer: list[dict[str, object]]) -> list[Child]:
    return [
        Child(
            id=child_id(
                parent,
                implementation=node.implementation,
                identity=[child.get(name) for name in node.stage.identity],
            ),
            parent=key,
            root=root,
            fields=encode(child),
        )
        for child in answer
    ]
