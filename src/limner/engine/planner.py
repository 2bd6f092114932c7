"""Planner: compares what should be current with what is, and writes tasks."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import msgspec
from msgspec import Struct, field

from limner.clock import Clock
from limner.domain.assessment import Held, Kind, Memo, Verdict, assess, outcome
from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import Fate
from limner.domain.nodes import Node
from limner.domain.tasks import Status
from limner.engine.expansion import NO_CHILDREN, expand
from limner.engine.marks import mark_gone, mark_touched
from limner.engine.subjects import NONE_HELD, Loaded, load
from limner.engine.views import View
from limner.store.results import ResultRow, encode_failure
from limner.store.store import Transaction
from limner.store.tasks import NewTask

_FATES = {None: Fate.OPEN, Status.DONE: Fate.DONE, Status.FAILED: Fate.FAILED, Status.SKIPPED: Fate.SKIPPED}


class Assessment(Struct, frozen=True, kw_only=True):
    """What is to be done about some records of one collection."""

    collection: int
    loaded: Loaded
    #: By record: the verdict about each node, in order.
    verdicts: Mapping[int, Mapping[int, Verdict]]
    #: By node: the records that belong in a task.
    ready: Mapping[int, list[int]] = field(default_factory=dict)
    #: Results that need no inferring: skips and upstream failures.
    decided: list[ResultRow] = field(default_factory=list)
    #: What is to be done about children that read what was decided.
    beyond: list["Assessment"] = field(default_factory=list)

    def fates(self, nodes: Sequence[Node]) -> dict[int, Fate]:
        """What has become of each record."""
        return {key: _FATES[outcome(verdicts, nodes)] for key, verdicts in self.verdicts.items()}


def assess_records(
    tx: Transaction, view: View, collection: int, keys: Sequence[int], *, memo: Memo | None = None
) -> Assessment:
    """What is to be done about the live records *keys* of a collection, in every node over it."""
    nodes = view.over(collection)
    gathers = [node for node in view.gathers if view.collections[node.collection] == collection]
    loaded = load(tx, view, keys)
    found: dict[int, dict[int, Verdict]] = {}
    ready: dict[int, list[int]] = {node.pk: [] for node in nodes}
    decided: list[ResultRow] = []
    reads_parents = bool(loaded.parent_held)
    for key, subject in loaded.subjects.items():
        verdicts: dict[int, Verdict] = {}
        held = loaded.held.get(key, NONE_HELD)
        parent_held = loaded.of_parent(key) if reads_parents else NONE_HELD
        if gathers:
            verdicts.update(_as_it_stands(gathers, held))
        for node in nodes:
            verdict = assess(node, subject, held=held, parent_held=parent_held, verdicts=verdicts, memo=memo)
            verdicts[node.pk] = verdict
            kind = verdict.kind
            if kind is Kind.READY:
                ready[node.pk].append(key)
            elif kind is Kind.SKIP or kind is Kind.UPSTREAM_FAILED:
                decided.append(decided_row(key, node, verdict))
        found[key] = verdicts
    return Assessment(collection=collection, loaded=loaded, verdicts=found, ready=ready, decided=decided)


def _as_it_stands(gathers: Sequence[Node], held: Mapping[int, Held]) -> dict[int, Verdict]:
    """What gathers say of their holder: groups are looked at elsewhere, and what reads them is planned after that."""
    found: dict[int, Verdict] = {}
    for node in gathers:
        mine = held.get(node.pk)
        if node.version is None:
            found[node.pk] = Verdict(Kind.UNAVAILABLE)
        elif mine is not None:
            found[node.pk] = Verdict(Kind.SETTLED, mine.asked, mine.status)
    return found


def decided_row(key: int, node: Node, verdict: Verdict) -> ResultRow:
    """The result of a record that is skipped, or whose upstream failed."""
    assert node.version is not None
    if verdict.kind is Kind.SKIP:
        value = msgspec.msgpack.encode(verdict.reason)
        return (key, node.pk, node.version, Status.SKIPPED, None, 0, verdict.asked, b"", b"", value)
    failure = Failure(
        code=FailureCode.UPSTREAM_FAILED,
        message=f"Stage {verdict.reason}, which this stage reads, has no value for this record.",
        reason=verdict.reason,
    )
    value = encode_failure(failure)
    return (key, node.pk, node.version, Status.FAILED, None, 0, verdict.asked, b"", b"", value)


class Planner:
    """Writes tasks for what is stale."""

    def __init__(self, *, clock: Clock, memo: Memo | None = None) -> None:
        self._clock = clock
        self._memo = memo

    @property
    def now(self) -> float:
        """The time of what is planned."""
        return self._clock.now()

    def plan(
        self,
        tx: Transaction,
        view: View,
        collection: int,
        keys: Sequence[int],
        *,
        job: str | None,
        priority: int = 0,
        only: set[int] | None = None,
    ) -> Assessment:
        """
        Plan what is stale of the records *keys* of a collection; what an open task holds already is left to it.

        *only* names the nodes whose readiness may be new; all others have been planned when they became ready. What
        is decided without inferring is followed at once: groups are marked, children that read it are planned.
        """
        assessment = assess_records(tx, view, collection, keys, memo=self._memo)
        tx.results.put(assessment.decided)
        wanted = {pk: ready for pk, ready in assessment.ready.items() if ready and (only is None or pk in only)}
        self.write(tx, view, wanted, job=job, priority=priority)
        if assessment.decided:
            assessment.beyond.extend(self._follow_decided(tx, view, assessment, job=job))
        return assessment

    def _follow_decided(
        self, tx: Transaction, view: View, assessment: Assessment, *, job: str | None
    ) -> list[Assessment]:
        said: dict[int, set[int]] = {}
        for row in assessment.decided:
            said.setdefault(row[1], set()).add(row[0])
        keys = sorted({row[0] for row in assessment.decided})
        tx.journal.write(assessment.collection, keys, kind="results", at=self._clock.now())
        for node in view.expansions:
            if node.pk in said:
                self._without_children(tx, view, node, said[node.pk], job=job)
        mark_touched(tx, view, said, job=job)
        return self.plan_readers(tx, view, said, job=job)

    def _without_children(self, tx: Transaction, view: View, node: Node, parents: set[int], *, job: str | None) -> None:
        """Retire the children of parents whose expansion was skipped, or lacks what it reads."""
        gone = expand(tx, view, node, dict.fromkeys(parents, NO_CHILDREN)).retired
        for collection, keys in gone.items():
            if keys:
                mark_gone(tx, view, collection, keys, job=job)
                tx.journal.write(collection, keys, kind="records", at=self._clock.now())

    def plan_readers(
        self, tx: Transaction, view: View, said: Mapping[int, set[int]], *, job: str | None
    ) -> list[Assessment]:
        """Plan the nodes over children that read what was *said* of their parents; *said* is keys by node."""
        found = []
        for node in view.readers(set(said), of_parent=True):
            collection = view.collections[node.collection]
            parents = sorted({key for pk in node.upstream & set(said) for key in said[pk]})
            keys = [record.pk for record in tx.records.children(parents, collection=collection)]
            if keys:
                found.append(self.plan(tx, view, collection, keys, job=job, only=view.reach({node.pk})))
        return found

    def write(
        self, tx: Transaction, view: View, ready: Mapping[int, Sequence[int]], *, job: str | None, priority: int = 0
    ) -> None:
        """Write tasks for the records that are ready by node, without those that an open task holds."""
        tasks: list[NewTask] = []
        for pk, keys in ready.items():
            node = view.node(pk)
            if not keys or node is None or node.version is None:
                continue
            missing = self._without_open(tx, pk, node.version, keys)
            for chunk in _cut(tx, node, missing):
                tasks.append(NewTask(node=pk, version=node.version, keys=chunk, job=job, priority=priority))
        tx.tasks.plan(tasks, now=self._clock.now())

    def _without_open(self, tx: Transaction, node: int, version: int, keys: Sequence[int]) -> list[int]:
        """*keys* in order, without those that an open task of the node's version holds."""
        held: set[int] = set()
        for task in tx.tasks.overlapping([node], first=min(keys), last=max(keys)):
            if task.version == version:
                held.update(task.keys)
        return sorted(set(keys) - held) if held else sorted(keys)


def _cut(tx: Transaction, node: Node, keys: Sequence[int]) -> Iterator[Sequence[int]]:
    """
    *keys* in pieces of a task's size.

    Siblings that read a file of their parent stay together as far as they fit, so that it is fetched and decoded once.
    """
    size = node.stage.task_size
    if not any(source.of_parent and source.read.file for source in node.sources):
        yield from (keys[start : start + size] for start in range(0, len(keys), size))
        return
    parents = {key: record.parent for key, record in tx.records.load(keys).items()}
    piece: list[int] = []
    for _, family in groupby(sorted(keys, key=lambda key: (parents.get(key) or 0, key)), key=parents.get):
        members = list(family)
        if piece and len(piece) + len(members) > size:
            yield sorted(piece)
            piece = []
        while len(members) > size:
            yield sorted(members[:size])
            members = members[size:]
        piece += members
    if piece:
        yield sorted(piece)


def fates_of_roots(tx: Transaction, view: View, *assessments: Assessment) -> dict[int, Fate]:
    """
    Fates of the records that jobs count among those *assessments* touched: of the records themselves, or their roots.

    A record with children is open while one of them is, and failed where a required stage of one failed.
    """
    fates: dict[int, Fate] = {}
    roots: set[int] = set()
    for assessment in assessments:
        own = assessment.fates(view.over(assessment.collection))
        if view.expansions:
            families = _families(view, assessment)
            roots.update(families.values())
            own = {key: fate for key, fate in own.items() if key not in families}
        fates |= own
        if assessment.beyond:
            fates |= fates_of_roots(tx, view, *assessment.beyond)
    return fates | family_fates(tx, view, sorted(roots)) if roots else fates


def _families(view: View, assessment: Assessment) -> dict[int, int]:
    """The root of each record that is counted with its family: all but those of other sources."""
    if assessment.collection == view.root:
        return {key: key for key in assessment.verdicts}
    records = assessment.loaded.records
    return {key: root for key in assessment.verdicts if (root := records[key].root) is not None}


def family_fates(tx: Transaction, view: View, roots: Sequence[int]) -> dict[int, Fate]:
    """Fates of roots with all their live descendants counted in."""
    fates = assess_records(tx, view, view.root, roots).fates(view.over(view.root))
    by_collection: dict[int, list[int]] = {}
    root_of: dict[int, int] = {}
    for root, collection, key in tx.records.descendants(roots):
        by_collection.setdefault(collection, []).append(key)
        root_of[key] = root
    for collection, keys in by_collection.items():
        nodes = view.over(collection)
        if not nodes:
            continue
        for key, fate in assess_records(tx, view, collection, keys).fates(nodes).items():
            fates[root_of[key]] = _worse(fates.get(root_of[key], Fate.OPEN), fate)
    return fates


def _worse(root: Fate, child: Fate) -> Fate:
    """What a child's fate makes of its root's: open wins, then failed."""
    if Fate.OPEN in (root, child):
        return Fate.OPEN
    return Fate.FAILED if Fate.FAILED in (root, child) else root
