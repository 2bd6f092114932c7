"""When a gather is current: the rule of staleness for groups of records."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from limner.domain.assessment import NIL, WAITING, Held, Kind, Verdict, settle
from limner.domain.digests import digest
from limner.domain.nodes import Node, stage_read
from limner.domain.subjects import field_at
from limner.domain.tasks import Status
from limner.domain.values import Value, encode


class Member(Struct, frozen=True):
    """One member of a group, as a gather sees it."""

    pk: int
    #: Its place among the members: the order field, then the id.
    place: tuple[Value, ...]
    #: What the nodes that the gather reads say, by node.
    verdicts: Mapping[int, Verdict]
    held: Mapping[int, Held]
    fields: Mapping[str, Value]


def assess_group(node: Node, members: Sequence[Member], *, mine: Held | None, complete: bool) -> Verdict:
    """
    What is to be done about a gather for one holder whose live *members* are given in order.

    *complete* is false while an expansion that makes members is open. Members without what it reads, because that
    failed, was skipped or is not there, are left out, or fail the group where the stage says ``missing="fail"``.
    """
    if node.version is None:
        return Verdict(Kind.UNAVAILABLE)
    if not complete:
        return Verdict(Kind.WAITING)
    parts = [node.spec]
    known = {node.pk: mine} if mine else {}
    for member in members:
        found = _member_parts(node, member)
        if found is None:
            return WAITING
        whole = [part for part in found if part is not None]
        if len(whole) == len(found):
            parts += [*whole, str(member.pk).encode()]
        elif node.stage.missing == "fail":
            missing = next(source for source, part in zip(node.sources, found, strict=True) if part is None)
            failed = Verdict(Kind.UPSTREAM_FAILED, digest(parts), Status.FAILED, stage_read(missing))
            return settle(node, failed, known)
    asked = digest(parts)
    if len(parts) == 1:
        return settle(node, Verdict(Kind.SKIP, asked, Status.SKIPPED, "no_members"), known)
    if mine is not None and mine.asked == asked:
        return Verdict(Kind.SETTLED, asked, mine.status)
    return Verdict(Kind.READY, asked)


def present(node: Node, members: Sequence[Member]) -> list[Member]:
    """Those of a gather's settled *members* that have all that it reads: what it is given."""
    return [member for member in members if None not in (_member_parts(node, member) or [None])]


def _member_parts(node: Node, member: Member) -> list[bytes | None] | None:
    """What one member adds to a gather's digest, by read; None where it is missing, None for all while it is open."""
    parts: list[bytes | None] = []
    for source in node.sources:
        absent = NIL if source.read.optional else None
        if source.node is None:
            value = field_at(member.fields, source.path)
            parts.append(absent if value is None else encode(value))
            continue
        verdict = member.verdicts.get(source.node)
        if verdict is None or verdict.kind in (Kind.READY, Kind.WAITING):
            return None
        found = member.held.get(source.node)
        parts.append(found.value_digest if found is not None and found.status is Status.DONE else absent)
    return parts
