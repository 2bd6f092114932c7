"""Conductor: one transaction for results, progress and the readiness of what comes next."""

from collections.abc import Mapping, Sequence

from limner.clock import Clock
from limner.domain.nodes import Node
from limner.domain.outputs import Artifact
from limner.domain.tasks import Answer, Status
from limner.domain.values import decode
from limner.engine.answers import Collected
from limner.engine.assessing import fates_of_roots
from limner.engine.children import journal_children, plan_children
from limner.engine.expansion import NO_CHILDREN, Expanded, expand
from limner.engine.groups import plan_marked
from limner.engine.marks import mark_touched
from limner.engine.planner import Planner
from limner.engine.receipts import redirected
from limner.engine.scopes import Scope
from limner.store.files import HeldArtifact
from limner.store.store import Transaction


class Conductor:
    """Commits answers; nobody else moves a task onward."""

    def __init__(self, *, planner: Planner, clock: Clock) -> None:
        self._planner = planner
        self._clock = clock

    def commit(self, tx: Transaction, scopes: Sequence[Scope], answers: Sequence[Answer]) -> None:
        """
        Commit answers; one that is late or repeated changes nothing, an answer of any attempt counts.

        Everything is written in *tx*: results, retries, children, what became ready, and the progress of jobs.
        """
        answers = redirected(tx, answers)
        tasks = tx.tasks.load({answer.task for answer in answers})
        nodes = {node.pk: node for scope in scopes for node in scope.view.nodes}
        still_open: dict[int, dict[int, None]] = {}
        collected = Collected(now=self._clock.now())
        for answer in answers:
            task = tasks.get(answer.task)
            if task is None or task.node not in nodes:
                continue
            remaining = still_open.setdefault(task.pk, dict.fromkeys(task.keys))
            collected.take(task, nodes[task.node], answer, remaining)
        self._write(tx, collected, scopes, nodes)
        for scope in scopes:
            plan_marked(tx, scope, self._planner)

    def _write(self, tx: Transaction, collected: Collected, scopes: Sequence[Scope], nodes: Mapping[int, Node]) -> None:
        """Write what was collected, then what follows from it."""
        made = self._expand(tx, collected, scopes, nodes)
        tx.results.put(collected.rows)
        tx.results.confirm(collected.confirmed)
        tx.held.add(_artifacts(collected, nodes), at=collected.now)
        tx.results.log_attempts(collected.attempts)
        tx.tasks.tally(collected.tallies)
        tx.tasks.plan(collected.new, now=collected.now)
        tx.nodes.measure({pk: spent for pk, spent in collected.measured.items() if spent[0]})
        for name, spent in collected.spent.items():
            tx.jobs.grow(name, inferred=spent.inferred, reused=spent.reused, downloads=spent.downloads)
        for job, touched in collected.touched.items():
            for scope in scopes:
                mine = {pk: keys for pk, keys in touched.items() if keys and scope.view.node(pk) is not None}
                wanted = scope.wanted(tx, mine) if mine else {}
                if wanted:
                    self._follow(tx, scope, wanted, made, job=job)
        self._journal(tx, collected, nodes, scopes)

    def _expand(
        self, tx: Transaction, collected: Collected, scopes: Sequence[Scope], nodes: Mapping[int, Node]
    ) -> dict[int, Expanded]:
        """Make the children that expansions named; what became of children, by node."""
        made: dict[int, Expanded] = {}
        for pk, positions in collected.expanded.items():
            view = next(scope.view for scope in scopes if scope.view.node(pk) is not None)
            rows = {key: collected.rows[position] for key, position in positions.items()}
            answers = {key: row[9] if row[3] == Status.DONE else NO_CHILDREN for key, row in rows.items()}
            served = {key for key, row in rows.items() if row[2] == nodes[pk].version}
            made[pk] = expanded = expand(tx, view, nodes[pk], answers, served=served)
            for key, position in positions.items():
                value, value_digest = expanded.values[key]
                if rows[key][3] == Status.DONE:
                    collected.rows[position] = (*rows[key][:8], value_digest, value)
            journal_children(tx, expanded, at=collected.now)
        return made

    def _follow(
        self,
        tx: Transaction,
        scope: Scope,
        touched: Mapping[int, set[int]],
        made: Mapping[int, Expanded],
        *,
        job: str | None,
    ) -> None:
        """Plan what became ready through the results that *touched* names, and settle what has ended."""
        view, found = scope.view, []
        by_collection: dict[int, set[int]] = {}
        for pk, keys in touched.items():
            node = view.node(pk)
            if node is not None:
                by_collection.setdefault(view.collections[node.collection], set()).update(keys)
        for pk, expanded in made.items():
            if pk in touched:
                found += plan_children(tx, view, self._planner, expanded, job=job)
        # A record that changed while its task was out is asked again, so a node is planned with its readers.
        reach = view.reach(set(touched))
        for collection, keys in by_collection.items():
            found.append(self._planner.plan(tx, view, collection, sorted(keys), job=job, only=reach))
        found += self._planner.plan_readers(tx, view, touched, job=job)
        mark_touched(tx, view, touched, job=job)
        scope.settle(tx, fates_of_roots(tx, view, *found))

    def _journal(
        self, tx: Transaction, collected: Collected, nodes: Mapping[int, Node], scopes: Sequence[Scope]
    ) -> None:
        """Append to the journal what changed, one row for each collection."""
        changed: dict[int, set[int]] = {}
        for touched in collected.touched.values():
            for pk, keys in touched.items():
                view = next(scope.view for scope in scopes if scope.view.node(pk) is not None)
                changed.setdefault(view.collections[nodes[pk].collection], set()).update(keys)
        for collection, keys in changed.items():
            if keys:
                tx.journal.write(collection, sorted(keys), kind="results", at=collected.now)


def _artifacts(collected: Collected, nodes: Mapping[int, Node]) -> list[HeldArtifact]:
    """The files that the collected results name: from now on they are this store's to hand out."""
    outputs = {
        pk: [name for name, output in node.stage.outputs.items() if isinstance(output, Artifact)]
        for pk, node in nodes.items()
    }
    found: dict[str, HeldArtifact] = {}
    for row in collected.rows:
        names = outputs[row[1]]
        if not names or row[3] != Status.DONE:
            continue
        value = decode(row[9])
        for reference in (value[name] for name in names if value.get(name) is not None):
            held = HeldArtifact(sha256=reference["sha256"], size=reference["bytes"], kind=reference["kind"])
            found[held.sha256] = held
    return list(found.values())
