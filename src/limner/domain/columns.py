"""The rule of what is stale, for many records at once: the same as for one, without an object for each look."""

from collections.abc import Callable, Mapping, Sequence

from limner.domain.assessment import UNAVAILABLE, WAITING, Held, Kind, Verdict, compare
from limner.domain.digests import digest
from limner.domain.nodes import Node
from limner.domain.tasks import Status

_READY = Verdict(Kind.READY)
_NONE: Mapping[int, Held] = {}


class Memo:
    """
    Digests asked by nodes that read nothing but a record's own fields, by node and record.

    A record is assessed several times on its way; what does not depend on results need not be computed again.
    """

    def __init__(self, *, most: int = 200_000) -> None:
        self._most = most
        self._found: dict[bytes, bytes] = {}

    def get(self, node: Node, mark: bytes) -> bytes | None:
        """The digest asked of the record with the digest *mark*, if it is remembered."""
        return self._found.get(node.spec + mark)

    def put(self, node: Node, mark: bytes, asked: bytes) -> None:
        """Remember a digest asked."""
        if len(self._found) >= self._most:
            self._found.clear()
        self._found[node.spec + mark] = asked


def assess_column(
    node: Node,
    keys: Sequence[int],
    marks: Sequence[bytes],
    *,
    held: Mapping[int, Mapping[int, Held]],
    above: Sequence[Verdict | None] | None,
    alone: Callable[[int], Verdict],
    memo: Memo,
    asking: bool,
) -> list[Verdict]:
    """
    What is to be done about *node* for the records *keys*, in their order.

    *marks* are the records' digests, *held* is what the store holds by node and record, *above* what was found for the
    node that this one reads, where it reads one alone. Any other node, and whatever needs a closer look, is assessed
    *alone*, by position. Unless *asking*, a verdict that something is ready need not hold the digest asked.
    """
    if node.version is None:
        return [UNAVAILABLE] * len(keys)
    if node.own_fields_only:
        return _over_fields(node, keys, marks, held.get(node.pk, _NONE), alone=alone, memo=memo, asking=asking)
    if above is not None and node.only_reads is not None:
        theirs = held.get(node.only_reads, _NONE)
        return _over_one(node, keys, held.get(node.pk, _NONE), above, theirs, alone=alone, asking=asking)
    return [alone(position) for position in range(len(keys))]


def _over_fields(
    node: Node,
    keys: Sequence[int],
    marks: Sequence[bytes],
    mine: Mapping[int, Held],
    *,
    alone: Callable[[int], Verdict],
    memo: Memo,
    asking: bool,
) -> list[Verdict]:
    """For a node that reads nothing but the record's own fields: what it asks depends on the record's digest alone."""
    found: list[Verdict] = []
    for position, (key, mark) in enumerate(zip(keys, marks, strict=True)):
        result = mine.get(key)
        asked = memo.get(node, mark)
        if asked is None:
            verdict = alone(position)
            if verdict.kind is Kind.READY:
                # What is settled may be a skip, whose digest says something else.
                memo.put(node, mark, verdict.asked)
            found.append(verdict)
        elif result is None and not asking:
            found.append(_READY)
        else:
            found.append(compare(asked, result))
    return found


def _over_one(
    node: Node,
    keys: Sequence[int],
    mine: Mapping[int, Held],
    above: Sequence[Verdict | None],
    theirs: Mapping[int, Held],
    *,
    alone: Callable[[int], Verdict],
    asking: bool,
) -> list[Verdict]:
    """For a node that reads what one other says of the same record, and needs it."""
    found: list[Verdict] = []
    spec = node.spec
    for position, (key, verdict) in enumerate(zip(keys, above, strict=True)):
        if verdict is None or verdict.kind is Kind.READY or verdict.kind is Kind.WAITING:
            found.append(WAITING)
        elif verdict.kind is not Kind.SETTLED or verdict.status is not Status.DONE:
            found.append(alone(position))
        else:
            result = mine.get(key)
            if result is None and not asking:
                found.append(_READY)
            else:
                found.append(compare(digest((spec, theirs[key].value_digest)), result))
    return found
