"""Which versions a server serves: described once, active for every job, and moved on purpose."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from limner.app.described import UNKNOWN, Known, Way, known_of
from limner.app.preparing import lists
from limner.domain.pipelines import EXTERNAL, Pipeline, steps_of
from limner.domain.versions import Version
from limner.engine.passes import activate, retire_undeclared, stale_nodes
from limner.engine.views import View, check_choices
from limner.errors import UsageError
from limner.store.store import Transaction

if TYPE_CHECKING:
    from limner.app.hosting import Host


class Serving:
    """The versions of a host's implementations."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        #: By pipeline: what its implementations are now.
        self.known: dict[str, Known] = {}

    def refresh(self) -> None:
        """
        Look again what the implementations are now, and serve that.

        What a moved version makes stale in a standing pipeline is planned by the host's loop, a page at a time.
        """
        host = self._host
        for pipeline in host.pipelines.values():
            host.app.add_shipped_models(pipeline)
        self.look()
        for name, pipeline in host.pipelines.items():
            with host.lock, host.store.transaction() as tx:
                view = host.engine.view(tx, name, {})
                retire_undeclared(tx, view)
                self._activate(tx, view)
            if pipeline.standing:
                host.do(partial(self._pass_over, name))

    def look(self) -> None:
        """Look what the implementations are now, and move nothing."""
        host = self._host
        for name, pipeline in host.pipelines.items():
            with host.store.reading() as tx:
                self.known[name] = known_of(tx, pipeline, host.app.project)

    def problems(self, pipeline: str) -> Mapping[Way, str]:
        """Why implementations of a pipeline cannot run here, by stage and implementation."""
        return self.known[pipeline].problems if pipeline in self.known else {}

    def served_here(self, pipeline: Pipeline) -> list[Way]:
        """The implementations that this process can serve itself."""
        known = self.known[pipeline.name].versions if pipeline.name in self.known else {}
        return [(stage, way) for stage, way in known if pipeline.stage(stage).chosen(way).infer != EXTERNAL]

    def choose(self, tx: Transaction, pipeline: str, choices: Mapping[str, Sequence[str]]) -> View:
        """
        The view of a job with *choices*, its nodes in the versions that are served.

        Raises:
            NotFound: a stage or an implementation is unknown; the sentence names the known ones.
            UsageError: a stage that is needed is left out, or cannot run here.
        """
        host = self._host
        declared = host.pipeline(pipeline)
        check_choices(declared, choices)
        problems = self.problems(pipeline)
        for stage, way in steps_of(declared, choices):
            if (stage.name, way) in problems and stage.required:
                raise UsageError(f"Stage {stage.name}/{way} cannot run: {problems[stage.name, way]}")
        self._activate(tx, host.engine.view(tx, pipeline, lists(choices)))
        return host.engine.view(tx, pipeline, lists(choices))

    def met(self, way: Way, *, pipeline: str, version: Version, live: Callable[[str], bool]) -> None:
        """
        A worker serves a version of an implementation that cannot be described here: it is registered.

        It becomes the active one where none is known yet, or where no worker that is *live* (asked by digest) serves
        the active one any more; otherwise workers of different versions would move it to and fro.
        """
        host, (stage, implementation) = self._host, way
        with host.lock, host.store.transaction() as tx:
            key = tx.nodes.register(pipeline, stage, implementation, version=version, now=host.clock.now())
            nodes = [n for n in tx.nodes.of(pipeline) if (n.stage, n.implementation) == way and n.active != key]
            stored = tx.nodes.versions([node.active for node in nodes if node.active is not None])
            moved = [node.pk for node in nodes if node.active is None or _gives_way(stored[node.active].version, live)]
            for pk in moved:
                tx.nodes.activate(pk, key)
            tx.nodes.needs_pass(moved)
            # What was sent for another version is planned anew when it is sent again.
            tx.tasks.unsend([task.pk for task in tx.tasks.open_of(nodes=moved)] if moved else [])
            if moved or not nodes:
                self._know(pipeline, way, version)
        if moved and host.pipelines[pipeline].standing:
            host.do(partial(self._pass_over, pipeline))

    def _know(self, pipeline: str, way: Way, version: Version) -> None:
        before = self.known.get(pipeline, Known(versions={}, problems={}))
        problems = {other: why for other, why in before.problems.items() if other != way}
        self.known[pipeline] = Known(versions={**before.versions, way: version}, problems=problems)

    def _activate(self, tx: Transaction, view: View) -> None:
        """
        Have the nodes of *view* be in the versions that are served.

        Of an implementation that only outside workers hold, a node keeps what it has: their hellos move it.
        """
        host, pipeline = self._host, view.pipeline
        known = self.known[pipeline.name].versions if pipeline.name in self.known else {}
        versions = {}
        for node in view.nodes:
            way = (node.stage.name, node.implementation)
            if node.stage.chosen(node.implementation).infer == EXTERNAL:
                if node.version is None:
                    versions[node.pk] = known_of(tx, pipeline, host.app.project, ways={way}).versions[way]
            elif way in known:
                versions[node.pk] = known[way]
        activate(tx, view, versions, now=host.clock.now())

    def _pass_over(self, name: str) -> Iterator[None]:
        """Plan what moved versions made stale in a standing pipeline."""
        host = self._host
        with host.store.transaction() as tx:
            scope = host.engine.scope(tx, name, {})
            stale = stale_nodes(tx, scope.view)
        if stale:
            yield from (None for _ in host.engine.passes.over(scope, stale, job=None))


def _gives_way(active: Version, live: Callable[[str], bool]) -> bool:
    """Whether the active version is served by nobody."""
    return active.code == UNKNOWN or not live(active.digest)
