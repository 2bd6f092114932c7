"""The rule of what is stale, for many records at once: the same as for one, without an object for each look."""

from collections.abc import Callable, Mapping, Sequence

from limner.domain.assessment import UNAVAILABLE, WAITING, Held, Kind, Verdict, compare
from limner.domain.digests import digest
from limner.domain.nodes import Node
from limner.domain.tasks import Status
from limner.domain.values import encode

_READY = Verdict(Kind.READY)
_NONE: Mapping[int, Held] = {}


class Memo:
    """
    Digests asked, by the rule of a node and by the marks of what it reads: of the record, and of what it was given.

    A record is assessed several times on its way; what was read once need not be read again while it stays the same.
    """

    def __init__(self, *, most: int = 200_000) -> None:
        self._most = most
        self._found: dict[bytes, bytes] = {}

    def get(self, rule: bytes, mark: bytes) -> bytes | None:
        """The digest asked by *rule* of what has the *mark*, if it is remembered."""
        return self._found.get(rule + mark)

    def put(self, rule: bytes, mark: bytes, asked: bytes) -> None:
        """Remember a digest asked."""
        if len(self._found) >= self._most:
            self._found.clear()
        self._found[rule + mark] = asked


def assess_column(
    node: Node,
    keys: Sequence[int],
    marks: Sequence[bytes],
    *,
    held: Mapping[int, Mapping[int, Held]],
    above: Mapping[int, Sequence[Verdict | None]],
    alone: Callable[[int], Verdict],
    memo: Memo,
    asking: bool,
) -> list[Verdict]:
    """
    What is to be done about *node* for the records *keys*, in their order.

    *marks* are the records' digests, *held* is what the store holds by node and record, *above* what was found for the
    nodes before this one. What needs a closer look is assessed *alone*, by position, and so is a node that reads of
    parents. Unless *asking*, a verdict that something is ready need not hold the digest asked.
    """
    if node.version is None:
        return [UNAVAILABLE] * len(keys)
    mine = held.get(node.pk, _NONE)
    if node.own_fields_only:
        return _over_marks(node.spec, keys, marks, mine, alone=alone, memo=memo, asking=asking)
    if node.only_reads is not None and node.only_reads in above:
        theirs = held.get(node.only_reads, _NONE)
        return _over_one(node, keys, mine, above[node.only_reads], theirs, alone=alone, asking=asking)
    upstream = sorted(node.upstream)
    if node.within_record and all(pk in above for pk in upstream):
        read = [(above[pk], held.get(pk, _NONE)) for pk in upstream]
        wholes = _marks_of_values(keys, marks, read)
        return _over_marks(_rule_of(node), keys, wholes, mine, alone=alone, memo=memo, asking=asking)
    return [alone(position) for position in range(len(keys))]


def _over_marks(
    rule: bytes,
    keys: Sequence[int],
    marks: Sequence[bytes | None],
    mine: Mapping[int, Held],
    *,
    alone: Callable[[int], Verdict],
    memo: Memo,
    asking: bool,
) -> list[Verdict]:
    """Once for records of the same mark, on which alone depends what *rule* asks; None: a closer look is needed."""
    found: list[Verdict] = []
    for position, (key, mark) in enumerate(zip(keys, marks, strict=True)):
        asked = None if mark is None else memo.get(rule, mark)
        if asked is None:
            verdict = alone(position)
            if mark is not None and verdict.kind is Kind.READY:
                # What is settled may be a skip, whose digest says something else.
                memo.put(rule, mark, verdict.asked)
            found.append(verdict)
            continue
        result = mine.get(key)
        found.append(_READY if result is None and not asking else compare(asked, result))
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


def _marks_of_values(
    keys: Sequence[int],
    marks: Sequence[bytes],
    read: Sequence[tuple[Sequence[Verdict | None], Mapping[int, Held]]],
) -> list[bytes | None]:
    """Of each record one mark of its fields and of the values that are *read* of it; None where one is not there."""
    found: list[bytes | None] = []
    for position, (key, mark) in enumerate(zip(keys, marks, strict=True)):
        values = [theirs[key].value_digest for above, theirs in read if _has_value(above[position])]
        found.append(b"".join((mark, *values)) if len(values) == len(read) else None)
    return found


def _has_value(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.kind is Kind.SETTLED and verdict.status is Status.DONE


def _rule_of(node: Node) -> bytes:
    """How a node reads, of which others, and under which conditions it is asked at all."""
    conditions = [[c.path, c.compare.value, c.value, c.reason] for c, _ in node.conditions]
    return digest((node.spec, encode([conditions, sorted(node.upstream)])))
