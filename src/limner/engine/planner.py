"""Planner: compares what should be current with what is, and writes tasks."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct, field

from limner.clock import Clock
from limner.domain.assessment import Kind, Memo, Node, Verdict, assess, outcome
from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import Fate
from limner.domain.tasks import Status
from limner.engine.subjects import Loaded, load
from limner.engine.views import View
from limner.store.results import ResultRow, encode_failure
from limner.store.store import Transaction
from limner.store.tasks import NewTask

_FATES = {None: Fate.OPEN, Status.DONE: Fate.DONE, Status.FAILED: Fate.FAILED, Status.SKIPPED: Fate.SKIPPED}


class Assessment(Struct, frozen=True, kw_only=True):
    """What is to be done about some records of one collection."""

    loaded: Loaded
    #: By record: the verdict about each node, in order.
    verdicts: Mapping[int, Mapping[int, Verdict]]
    #: By node: the records that belong in a task.
    ready: Mapping[int, list[int]] = field(default_factory=dict)
    #: Results that need no inferring: skips and upstream failures.
    decided: list[ResultRow] = field(default_factory=list)

    def fates(self, nodes: Sequence[Node]) -> dict[int, Fate]:
        """What has become of each record."""
        return {key: _FATES[outcome(verdicts, nodes)] for key, verdicts in self.verdicts.items()}


def assess_records(
    tx: Transaction, view: View, collection: int, keys: Sequence[int], *, memo: Memo | None = None
) -> Assessment:
    """What is to be done about the live records *keys* of a collection, in every node over it."""
    nodes = view.over(collection)
    loaded = load(tx, view, keys)
    found: dict[int, dict[int, Verdict]] = {}
    ready: dict[int, list[int]] = {node.pk: [] for node in nodes}
    decided: list[ResultRow] = []
    for key, subject in loaded.subjects.items():
        verdicts: dict[int, Verdict] = {}
        held, parent_held = loaded.of(key), loaded.of_parent(key)
        for node in nodes:
            verdict = assess(node, subject, held=held, parent_held=parent_held, verdicts=verdicts, memo=memo)
            verdicts[node.pk] = verdict
            if verdict.kind is Kind.READY:
                ready[node.pk].append(key)
            elif verdict.kind in (Kind.SKIP, Kind.UPSTREAM_FAILED):
                decided.append(decided_row(key, node, verdict))
        found[key] = verdicts
    return Assessment(loaded=loaded, verdicts=found, ready=ready, decided=decided)


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

        *only* names the nodes whose readiness may be new; all others have been planned when they became ready.
        """
        assessment = assess_records(tx, view, collection, keys, memo=self._memo)
        tx.results.put(assessment.decided)
        wanted = {pk: ready for pk, ready in assessment.ready.items() if ready and (only is None or pk in only)}
        self.write(tx, view, wanted, job=job, priority=priority)
        return assessment

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
            for start in range(0, len(missing), node.stage.task_size):
                chunk = missing[start : start + node.stage.task_size]
                tasks.append(NewTask(node=pk, version=node.version, keys=chunk, job=job, priority=priority))
        tx.tasks.plan(tasks, now=self._clock.now())

    def _without_open(self, tx: Transaction, node: int, version: int, keys: Sequence[int]) -> list[int]:
        """*keys* in order, without those that an open task of the node's version holds."""
        held: set[int] = set()
        for task in tx.tasks.overlapping([node], first=min(keys), last=max(keys)):
            if task.version == version:
                held.update(task.keys)
        return sorted(set(keys) - held) if held else sorted(keys)


def fates_of_roots(
    tx: Transaction, view: View, assessment: Assessment, collection: int, *, also: Iterable[int] = ()
) -> dict[int, Fate]:
    """
    Fates of the job's records that *assessment* touched: of the records themselves, or of their roots.

    A record with children is open while one of them is, and failed where a required stage of one failed.
    """
    if not view.expansions:
        return assessment.fates(view.over(collection))
    if collection == view.root:
        roots = list(assessment.verdicts)
    else:
        roots = [r.root for r in assessment.loaded.records.values() if r.root is not None]
    return family_fates(tx, view, sorted({*roots, *also}))


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
