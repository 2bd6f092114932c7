"""Planner: compares what should be current with what is, and writes tasks."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from limner.clock import Clock
from limner.domain.columns import Memo
from limner.domain.nodes import Node
from limner.engine.assessing import Assessment, assess_records
from limner.engine.expansion import NO_CHILDREN, expand
from limner.engine.marks import mark_gone, mark_touched
from limner.engine.views import View
from limner.store.store import Transaction
from limner.store.tasks import NewTask


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
