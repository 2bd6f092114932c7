"""What is current and what is stale: the one rule that planner, conductor and ``limner plan`` share."""

from collections.abc import Iterable, Mapping
from enum import IntEnum

from msgspec import Struct

from limner.domain.digests import digest
from limner.domain.nodes import Node, Source, stage_read
from limner.domain.reads import Read, holds
from limner.domain.subjects import Subject, field_at
from limner.domain.tasks import Status
from limner.domain.values import Value, at_path, decode, encode

#: MessagePack's nil: what an optional read adds where there is nothing.
NIL = b"\xc0"


class Kind(IntEnum):
    """What is to be done about one stage of one record."""

    #: The stored result is current.
    SETTLED = 0
    #: All it reads is there, and no current result is: it belongs in a task.
    READY = 1
    #: Something that it reads is not settled yet.
    WAITING = 2
    #: It is skipped for a reason that is known without inferring.
    SKIP = 3
    #: A stage that it needs failed.
    UPSTREAM_FAILED = 4
    #: It has no version yet (its model is not there), so nothing is planned.
    UNAVAILABLE = 5


class Held(Struct, frozen=True, array_like=True, gc=False):
    """What the store holds of one record at one node, in the node's active version."""

    status: Status
    asked: bytes
    value_digest: bytes
    #: The encoded value, where a condition reads it; else empty.
    value: bytes = b""


class Verdict(Struct, frozen=True, array_like=True, gc=False):
    """What is to be done about one node of one record, and the digest that was asked."""

    kind: Kind
    asked: bytes = b""
    #: Status of the settled result, or what the engine writes for a skip or an upstream failure.
    status: Status | None = None
    #: Why: the reason of a skip, or the stage that failed.
    reason: str = ""


WAITING = Verdict(Kind.WAITING)
UNAVAILABLE = Verdict(Kind.UNAVAILABLE)


def assess(
    node: Node,
    subject: Subject,
    *,
    held: Mapping[int, Held],
    parent_held: Mapping[int, Held],
    verdicts: Mapping[int, Verdict],
) -> Verdict:
    """
    What is to be done about *node* for *subject*; :func:`limner.domain.columns.assess_column` is faster over many.

    *held* is what the store holds of the record by node, *parent_held* of its parent, *verdicts* what was found for
    the nodes before this one; a gather is assessed by :func:`assess_group`.
    """
    if node.version is None:
        return UNAVAILABLE
    parts = [node.spec]
    for source in node.sources:
        found = _read(source, subject, held=held, parent_held=parent_held, verdicts=verdicts)
        if isinstance(found, Verdict):
            return settle(node, found, held)
        parts.append(found)
    for condition, source in node.conditions:
        found = _read(source, subject, held=held, parent_held=parent_held, verdicts=verdicts)
        if isinstance(found, Verdict):
            return settle(node, found, held)
        parts.append(found)
        if not holds(condition, _value(source, subject, held=held, parent_held=parent_held)):
            asked = digest([*parts, condition.reason.encode()])
            return settle(node, Verdict(Kind.SKIP, asked, Status.SKIPPED, condition.reason), held)
    asked = digest(parts)
    return compare(asked, held.get(node.pk))


def compare(asked: bytes, mine: Held | None) -> Verdict:
    """Settled where the stored result was asked the same, else ready."""
    if mine is not None and mine.asked == asked:
        return Verdict(Kind.SETTLED, asked, mine.status)
    return Verdict(Kind.READY, asked)


def settle(node: Node, found: Verdict, held: Mapping[int, Held]) -> Verdict:
    """A decision that needs no inferring is settled once the store holds it."""
    if found.kind in (Kind.WAITING, Kind.UNAVAILABLE):
        return found
    asked = digest([node.spec, found.asked, found.reason.encode()])
    mine = held.get(node.pk)
    if mine is not None and mine.asked == asked:
        return Verdict(Kind.SETTLED, asked, mine.status)
    return Verdict(found.kind, asked, found.status, found.reason)


def _read(
    source: Source,
    subject: Subject,
    *,
    held: Mapping[int, Held],
    parent_held: Mapping[int, Held],
    verdicts: Mapping[int, Verdict],
) -> bytes | Verdict:
    """The part of the asked digest that one read adds, or why the node cannot be run."""
    if source.node is not None:
        if source.of_parent and subject.parent is None:
            return NIL if source.read.optional else _absent(source.read)
        return _read_result(source, held=held, parent_held=parent_held, verdicts=verdicts)
    owner = subject.parent if source.of_parent else subject
    value = None if owner is None else field_at(owner.fields, source.path)
    if value is None or (source.read.file and value == ""):
        if source.read.optional:
            return NIL
        return _absent(source.read)
    if source.read.file is None:
        return encode(value)
    assert owner is not None
    checksum = field_at(owner.fields, source.checksum) if source.checksum else None
    return encode([value, checksum]) + owner.revision


def _absent(read: Read) -> Verdict:
    return Verdict(Kind.SKIP, b"", Status.SKIPPED, read.absent_reason)


def _read_result(
    source: Source,
    *,
    held: Mapping[int, Held],
    parent_held: Mapping[int, Held],
    verdicts: Mapping[int, Verdict],
) -> bytes | Verdict:
    """What an upstream result adds: the digest of its value once it is settled."""
    assert source.node is not None
    if source.of_parent:
        mine = parent_held.get(source.node)
        if mine is None:
            return WAITING
        status, asked = mine.status, mine.asked
    else:
        verdict = verdicts.get(source.node)
        if verdict is None or verdict.kind in (Kind.READY, Kind.WAITING):
            return WAITING
        if verdict.kind is Kind.UNAVAILABLE:
            return UNAVAILABLE
        mine = held.get(source.node)
        status, asked = verdict.status or Status.SKIPPED, verdict.asked
    if status is Status.DONE and mine is not None:
        return mine.value_digest
    if source.read.optional:
        return NIL
    if status is Status.SKIPPED:
        return Verdict(Kind.SKIP, asked, Status.SKIPPED, f"upstream {stage_read(source)} skipped")
    return Verdict(Kind.UPSTREAM_FAILED, asked, Status.FAILED, stage_read(source))


def _value(source: Source, subject: Subject, *, held: Mapping[int, Held], parent_held: Mapping[int, Held]) -> Value:
    """The value that a condition compares."""
    if source.node is None:
        owner = subject.parent if source.of_parent else subject
        return None if owner is None else field_at(owner.fields, source.path)
    mine = (parent_held if source.of_parent else held).get(source.node)
    if mine is None or mine.status is not Status.DONE or not mine.value:
        return None
    return at_path(decode(mine.value), source.path)


def outcome(verdicts: Iterable[Verdict | None], required: Iterable[bool]) -> Status | None:
    """
    What has become of a record as a whole; None while anything is open.

    *verdicts* are those about maps and expansions, *required* says whether each is of a required stage. Failed where
    a required stage failed; skipped where every required stage was skipped; else done.
    """
    failed, skipped, other = False, False, False
    for verdict, counts in zip(verdicts, required, strict=True):
        if verdict is None or verdict.kind is Kind.READY or verdict.kind is Kind.WAITING:
            return None
        status = verdict.status
        if not counts or status is None:
            continue
        if status is Status.FAILED:
            failed = True
        elif status is Status.SKIPPED:
            skipped = True
        else:
            other = True
    if failed:
        return Status.FAILED
    return Status.SKIPPED if skipped and not other else Status.DONE
