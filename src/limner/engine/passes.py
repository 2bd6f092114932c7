"""A pass over a collection: only a version that moved needs one."""

from collections.abc import Iterator, Mapping

from limner.clock import Clock
from limner.domain.assessment import Node
from limner.domain.jobs import Fate
from limner.domain.versions import Version
from limner.engine.groups import enroll, plan_marked
from limner.engine.planner import Planner, family_fates
from limner.engine.scopes import Scope
from limner.engine.views import View
from limner.store.ledger import standing
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
        Plan whatever is stale in *nodes* and in what reads them; yields the records looked at, page by page.

        Killed half-way it begins anew, since only its end is remembered; tasks are not planned twice.
        """
        view = scope.view
        with self._store.transaction() as tx:
            tx.tasks.drop([t.pk for n in nodes for t in tx.tasks.open_of(nodes=[n.pk]) if t.version != n.version])
        for name in view.pipeline.collections():
            yield from self._collection(scope, view.collections[name], job=job)
        with self._store.transaction() as tx:
            for node in nodes:
                tx.nodes.set_planned(node.pk, node.version, spec=_spec(node))

    def _collection(self, scope: Scope, collection: int, *, job: str | None) -> Iterator[int]:
        after = 0
        while True:
            with self._store.transaction() as tx:
                keys = tx.records.page(collection, after=after, limit=PAGE, stubs=True)
                if not keys:
                    return
                self._page(tx, scope, collection, keys, job=job)
            after = keys[-1]
            yield len(keys)

    def _page(self, tx: Transaction, scope: Scope, collection: int, keys: list[int], *, job: str | None) -> None:
        view = scope.view
        found = self._planner.plan(tx, view, collection, keys, job=job)
        for node in view.gathers:
            if view.collections[node.collection] == collection:
                tx.groups.mark(node.pk, keys, job=job)
        enroll(tx, view, collection, keys, job=job)
        plan_marked(tx, scope, self._planner)
        if collection == view.root:
            fates = family_fates(tx, view, keys) if view.expansions else found.fates(view.over(collection))
            self._settle(tx, scope, fates)

    def _settle(self, tx: Transaction, scope: Scope, fates: dict[int, Fate]) -> None:
        if not scope.standing:
            return
        owner = standing(scope.view.pipeline.name)
        known = tx.ledger.fates(owner, list(fates))
        tx.ledger.enter(owner, {key: fate for key, fate in fates.items() if key not in known})
        tx.ledger.settle(owner, {key: fate for key, fate in fates.items() if key in known})
