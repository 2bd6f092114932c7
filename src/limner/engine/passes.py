"""A pass over a collection: only a version that moved needs one."""

from collections.abc import Iterator, Mapping
from itertools import compress

from limner.clock import Clock
from limner.domain.assessment import Kind
from limner.domain.jobs import Fate
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.versions import Version
from limner.engine.assessing import fates_of_roots
from limner.engine.children import journal_children, plan_children
from limner.engine.expansion import expand_again
from limner.engine.groups import plan_marked
from limner.engine.marks import enroll
from limner.engine.planner import Planner
from limner.engine.scopes import Scope
from limner.engine.views import View
from limner.store.store import Store, Transaction

#: Records in one transaction of a pass.
PAGE = 2000


def activate(tx: Transaction, view: View, versions: Mapping[int, Version], *, now: float) -> list[Node]:
    """Make *versions* (by node) the ones that are served; the nodes whose version moved."""
    moved = []
    stored = {node.pk: node for node in tx.nodes.of(view.pipeline.name)}
    for node in view.nodes:
        if node.pk not in versions:
            continue
        key = tx.nodes.register(
            view.pipeline.name, node.stage.name, node.implementation, version=versions[node.pk], now=now
        )
        if stored[node.pk].active != key:
            tx.nodes.activate(node.pk, key)
            moved.append(node)
    # Before any work of the new version: going back half-way to the old one needs a pass too.
    tx.nodes.needs_pass([node.pk for node in moved])
    for node in moved:
        tx.journal.write(view.collections[node.collection], [], kind="version", at=now)
    return moved


def retire_undeclared(tx: Transaction, view: View) -> None:
    """Retire the nodes of stages that the pipeline no longer declares, and take back those that it does again."""
    declared = {(stage.name, way) for stage in view.pipeline.stages for way in stage.implementations}
    stored = tx.nodes.of(view.pipeline.name)
    gone = [n.pk for n in stored if (n.stage, n.implementation) not in declared and not n.retired]
    back = [n.pk for n in stored if (n.stage, n.implementation) in declared and n.retired]
    tx.nodes.set_retired(gone, retired=True)
    if gone:
        # What waited for them, or failed there, has ended otherwise now.
        tx.nodes.needs_pass([node.pk for node in view.nodes])
    tx.nodes.set_retired(back, retired=False)
    tx.tasks.drop([task.pk for task in tx.tasks.open_of(nodes=gone)] if gone else [])


def stale_nodes(tx: Transaction, view: View) -> list[Node]:
    """The nodes whose active version or whose reads are not those that the last pass planned for."""
    stored = {node.pk: node for node in tx.nodes.of(view.pipeline.name)}
    return [
        node
        for node in view.nodes
        if node.version is not None
        and (stored[node.pk].planned != node.version or stored[node.pk].planned_spec != _spec(node))
    ]


def _spec(node: Node) -> bytes:
    """What a pass depends on besides the version: the reads, and whether the record needs the stage."""
    return node.spec + (b"\x01" if node.stage.required else b"\x00")


class Pass:
    """Looks at every record of a pipeline's collections once, a page in each transaction."""

    def __init__(self, *, store: Store, planner: Planner, clock: Clock) -> None:
        self._store = store
        self._planner = planner
        self._clock = clock

    def over(self, scope: Scope, nodes: list[Node], *, job: str | None) -> Iterator[int]:
        """
        Plan whatever is stale in *nodes* and in what reads them; yields, by page, the results that open records keep.

        Killed half-way it begins anew, since only its end is remembered; tasks are not planned twice.
        """
        view = scope.view
        with self._store.transaction() as tx:
            tx.tasks.drop([t.pk for n in nodes for t in tx.tasks.open_of(nodes=[n.pk]) if t.version != n.version])
        for name in view.pipeline.collections():
            yield from self._collection(scope, nodes, view.collections[name], job=job)
        with self._store.transaction() as tx:
            for node in nodes:
                tx.nodes.set_planned(node.pk, node.version, spec=_spec(node))

    def _collection(self, scope: Scope, nodes: list[Node], collection: int, *, job: str | None) -> Iterator[int]:
        after = 0
        while True:
            with self._store.transaction() as tx:
                keys = tx.records.page(collection, after=after, limit=PAGE, stubs=True)
                if not keys:
                    return
                self._serve_children(tx, scope, nodes, collection, keys, job=job)
                kept = self._page(tx, scope, collection, keys, job=job)
            after = keys[-1]
            yield kept

    def _serve_children(
        self, tx: Transaction, scope: Scope, nodes: list[Node], collection: int, keys: list[int], *, job: str | None
    ) -> None:
        """Have the children be those of the version that is served now, which may be an earlier one."""
        view = scope.view
        for node in nodes:
            if node.stage.kind is StageKind.EXPAND and view.collections[node.collection] == collection:
                expanded = expand_again(tx, view, node, keys)
                journal_children(tx, expanded, at=self._clock.now())
                plan_children(tx, view, self._planner, expanded, job=job)

    def _page(self, tx: Transaction, scope: Scope, collection: int, keys: list[int], *, job: str | None) -> int:
        """Plan one page; how many results of records that are open now were found current."""
        view = scope.view
        found = self._planner.plan(tx, view, collection, keys, job=job)
        enroll(tx, view, collection, keys, job=job)
        plan_marked(tx, scope, self._planner)
        fates = fates_of_roots(tx, view, found)
        if collection == view.root:
            scope.enter(tx, {key: fates[key] for key in keys if key in fates})
        scope.settle(tx, fates)
        if collection != view.root:
            return 0
        still = [fates.get(key) is Fate.OPEN for key in found.keys]
        return sum(
            verdict is not None and verdict.kind is Kind.SETTLED
            for column in found.columns.values()
            for verdict in compress(column, still)
        )
