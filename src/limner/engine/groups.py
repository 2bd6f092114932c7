"""Gathers: which groups are ready, and what they are given."""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from limner.domain.assessment import Held, Kind, Verdict
from limner.domain.groups import Member, assess_group, present
from limner.domain.nodes import Node
from limner.domain.subjects import field_at
from limner.domain.tasks import Status
from limner.domain.values import encode
from limner.engine.assessing import Assessment, assess_records, decided_row, fates_of_roots
from limner.engine.inputs import NOTHING, Inputs, list_of, part_of
from limner.engine.marks import mark_touched
from limner.engine.planner import Planner
from limner.engine.scopes import Scope
from limner.engine.views import View
from limner.store.store import Transaction


class Group(Struct, frozen=True, kw_only=True):
    """A holder's members, in order, and whether all that makes members has ended."""

    members: Sequence[Member]
    complete: bool


def plan_marked(tx: Transaction, scope: Scope, planner: Planner) -> None:
    """
    Plan the marked groups that are ready; one that still waits is marked again by what it waits for.

    Of a pipeline on request, a group that spans records waits until all records of the job that marked it are known.
    """
    nodes = {node.pk: node for node in scope.view.gathers}
    unsealed = {job for job in scope.jobs if not tx.jobs.get(job).sealed} if nodes and not scope.standing else set()
    while nodes and (found := _ripe(tx, list(nodes.values()), unsealed)):
        for pk, marked in found.items():
            _plan_groups(tx, scope, planner, nodes[pk], dict(marked))


def _ripe(tx: Transaction, nodes: Sequence[Node], unsealed: Collection[str]) -> dict[int, list[tuple[int, str | None]]]:
    """The marked groups, by node, that need not wait for more records of their job."""
    spanning = [node.pk for node in nodes if node.stage.by != "parent"]
    return {
        **tx.groups.marked([node.pk for node in nodes if node.stage.by == "parent"]),
        **tx.groups.marked(spanning, without=unsealed),
    }


def _plan_groups(tx: Transaction, scope: Scope, planner: Planner, node: Node, jobs: Mapping[int, str | None]) -> None:
    """Plan the marked groups of one gather; *jobs* says by holder who marked it."""
    view, holders = scope.view, list(jobs)
    tx.groups.unmark(node.pk, holders)
    groups = groups_of(tx, view, node, holders, jobs=_waiting(scope))
    held = tx.results.held(holders, versions=view.versions).get(node.pk, {})
    ready: dict[str | None, list[int]] = {}
    decided = {}
    for holder in holders:
        group = groups[holder]
        verdict = assess_group(node, group.members, mine=held.get(holder), complete=group.complete)
        if verdict.kind is Kind.READY:
            ready.setdefault(jobs[holder], []).append(holder)
        elif verdict.kind in (Kind.SKIP, Kind.UPSTREAM_FAILED):
            decided[holder] = decided_row(holder, node, verdict)
    for job, keys in ready.items():
        planner.write(tx, view, {node.pk: keys}, job=job)
    if decided:
        tx.results.put(list(decided.values()))
        for job in {jobs[holder] for holder in decided}:
            said = {holder for holder in decided if jobs[holder] == job}
            _follow_decided(tx, scope, planner, node, said, job=job)


def _follow_decided(
    tx: Transaction, scope: Scope, planner: Planner, node: Node, holders: set[int], *, job: str | None
) -> None:
    """Plan what reads a gather that was decided without inferring."""
    view = scope.view
    collection, said = view.collections[node.collection], {node.pk: holders}
    found = [planner.plan(tx, view, collection, sorted(holders), job=job, only=view.reach({node.pk}))]
    found += planner.plan_readers(tx, view, said, job=job)
    mark_touched(tx, view, said, job=job)
    scope.settle(tx, fates_of_roots(tx, view, *found))
    tx.journal.write(collection, sorted(holders), kind="results", at=planner.now)


def _waiting(scope: Scope) -> Collection[str] | None:
    """The jobs whose records are waited for; None where a standing pipeline waits for all."""
    return None if scope.standing else scope.jobs.keys()


def groups_of(
    tx: Transaction, view: View, node: Node, holders: Sequence[int], *, jobs: Collection[str] | None = None
) -> dict[int, Group]:
    """
    The groups of *holders*, their live members in order.

    With *jobs*, members that are not settled and that none of these jobs holds are left out: nobody works on them.
    """
    collection = view.collections[str(node.stage.of)]
    by_holder = _members(tx, node, collection, holders)
    everyone = sorted({key for keys in by_holder.values() for key in keys})
    found = assess_records(tx, view, collection, everyone)
    verdicts = found.verdicts()
    idle = set() if jobs is None else _idle(tx, found, node, jobs)
    open_holders = _open_expansions(tx, view, node, holders)
    groups: dict[int, Group] = {}
    for holder, keys in by_holder.items():
        members = [
            Member(
                key,
                _place(node, found.loaded.subject(key).fields, found.loaded.records[key].id),
                verdicts[key],
                found.loaded.of(key),
                found.loaded.subject(key).fields,
            )
            for key in keys
            if key in verdicts and key not in idle
        ]
        members.sort(key=lambda member: member.place)
        groups[holder] = Group(members=members, complete=holder not in open_holders)
    return groups


def _idle(tx: Transaction, found: Assessment, node: Node, jobs: Collection[str]) -> set[int]:
    """Members that are not settled in what *node* reads, and whose roots none of *jobs* holds."""
    roots = {
        key: found.loaded.records[key].root or key
        for key, verdicts in found.verdicts().items()
        if any(pk not in verdicts or verdicts[pk].kind in (Kind.READY, Kind.WAITING) for pk in node.upstream)
    }
    held = {root for job in jobs for root in tx.ledger.fates(job, sorted(set(roots.values())))}
    return {key for key, root in roots.items() if root not in held}


def _members(tx: Transaction, node: Node, collection: int, holders: Sequence[int]) -> dict[int, list[int]]:
    if node.stage.by != "parent":
        return tx.groups.members(node.pk, holders)
    found: dict[int, list[int]] = {holder: [] for holder in holders}
    for record in tx.records.children(holders, collection=collection):
        if record.parent is not None:
            found[record.parent].append(record.pk)
    return found


def _place(node: Node, fields: Mapping[str, object], identity: str) -> tuple[object, ...]:
    """A member's place: numbers before texts, records without the field last, then the id."""
    value = fields.get(node.stage.order) if node.stage.order else None
    if isinstance(value, int | float):
        return (0, value, "", identity)
    return (1, 0, value, identity) if isinstance(value, str) else (2, 0, "", identity)


def _open_expansions(tx: Transaction, view: View, node: Node, holders: Sequence[int]) -> set[int]:
    """Holders whose own expansion into the members' collection is not settled."""
    makers = [m for m in view.expansions if m.stage.of == node.stage.of and m.collection == node.collection]
    if not makers:
        return set()
    verdicts = assess_records(tx, view, view.collections[node.collection], holders).verdicts()
    waiting = (Kind.READY, Kind.WAITING)
    return {
        holder
        for holder, found in verdicts.items()
        if any(found.get(maker.pk, Verdict(Kind.WAITING)).kind in waiting for maker in makers)
    }


def group_inputs(tx: Transaction, scope: Scope, node: Node, holders: Sequence[int]) -> Inputs:
    """The inputs of a gather: for each holder and input, the list of its members' values in order."""
    view = scope.view
    groups = groups_of(tx, view, node, holders, jobs=_waiting(scope))
    held = tx.results.held(holders, versions=view.versions).get(node.pk, {})
    records = tx.records.load(holders)
    asked: dict[int, bytes] = {}
    for holder in holders:
        group = groups[holder]
        verdict = assess_group(node, group.members, mine=held.get(holder), complete=group.complete)
        if verdict.kind is Kind.READY:
            asked[holder] = verdict.asked
    kept = [holder for holder in holders if holder in asked]
    given = {holder: present(node, groups[holder].members) for holder in kept}
    members = sorted({member.pk for holder in kept for member in given[holder]})
    columns: dict[str, list[bytes]] = {}
    for source in node.sources:
        version = view.versions.get(source.node) if source.node is not None else None
        stored = (
            tx.results.values(members, node=source.node, version=version)
            if source.node is not None and version is not None
            else {}
        )
        columns[source.name] = [
            list_of(
                [
                    part_of(stored.get(member.pk), source.path)
                    if source.node is not None
                    else _field(member, source.path)
                    for member in given[holder]
                ]
            )
            for holder in kept
        ]
    return Inputs(
        keys=kept,
        ids=[records[holder].id for holder in kept],
        asked=[asked[holder] for holder in kept],
        columns=columns,
        known=[holder for holder in kept if done(held.get(holder))],
        dropped=[holder for holder in holders if holder not in asked],
    )


def _field(member: Member, path: tuple[str, ...]) -> bytes:
    value = field_at(member.fields, path)
    return NOTHING if value is None else encode(value)


def done(held: Held | None) -> bool:
    """Whether the store holds a value."""
    return held is not None and held.status is Status.DONE
