"""Which stage an address of the online door means, and which of its versions is served; remembered for a moment."""

import threading
import time
from collections.abc import Callable, Mapping

from limner.app.described import version_now
from limner.app.online_inputs import node_of
from limner.app.online_target import Target
from limner.app.parts import Parts
from limner.domain.nodes import Node
from limner.domain.pipelines import Pipeline, Stage, StageKind
from limner.domain.versions import Version
from limner.engine.dispatcher import runtime_of
from limner.engine.views import View
from limner.errors import LimnerError, NotFound, UsageError
from limner.store.store import Transaction

#: Seconds for which a stage's active version is taken as known.
_FRESH = 1.0
#: Seconds for which it is taken as known until somebody has looked again.
_STALE = 10.0


class Targets:
    """The stages of one project that can be asked online."""

    def __init__(self, parts: Parts, *, found: Callable[[Target], None]) -> None:
        """*found* is told each target when it was looked up, from whichever thread did."""
        self._parts = parts
        self._told = found
        self._lock = threading.RLock()
        self._looking = threading.Lock()
        self._known: dict[tuple[str, str | None], tuple[float, Target]] = {}

    def addresses(self) -> list[str]:
        """The addresses of all stages that can be asked for."""
        return [
            f"{pipeline.name}.{stage.name}"
            for pipeline in self._pipelines().values()
            for stage in pipeline.stages
            if stage.kind is not StageKind.GATHER
        ]

    def find(self, address: str, *, version: str | None = None) -> Target:
        """
        The stage called ``pipeline.stage``, or ``stage`` where only one pipeline has it, in the version that is served.

        *version* is the beginning of another version's digest.

        Raises:
            NotFound: there is no such stage or version; the sentence names the known ones.
            UsageError: several pipelines have it, or it gathers.
            ConfigurationError: its inferrer or its model is not there.
        """
        known = self._known.get((address, version))
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        with self._lock:
            known = self._known.get((address, version))
            if known is None or time.monotonic() >= known[0]:
                known = (time.monotonic() + _FRESH, self._found(address, version))
                self._known[address, version] = known
                self._told(known[1])
        return known[1]

    def known(self, address: str, version: str | None) -> Target | None:
        """
        What :meth:`find` found not long ago; None where it would have to look into the store.

        Where that was more than a moment ago it is looked again, in the background: nobody waits for that.
        """
        known = self._known.get((address, version))
        if known is None:
            return None
        late = time.monotonic() - known[0]
        if late > _STALE:
            return None
        if late > 0 and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look_again, args=(address, version), daemon=True).start()
        return known[1]

    def view(self, tx: Transaction, pipeline: Pipeline) -> View:
        """A pipeline as it stands."""
        return self._parts.engine(pipeline.name).view(tx, pipeline.name, {})

    def _look_again(self, address: str, version: str | None) -> None:
        try:
            self.find(address, version=version)
        except LimnerError:
            # Whoever asks next is told.
            self._known.pop((address, version), None)
        finally:
            self._looking.release()

    def _pipelines(self) -> Mapping[str, Pipeline]:
        declared = self._parts.declared
        return declared.own or declared.pipelines

    def _found(self, address: str, version: str | None) -> Target:
        pipeline, stage = self._named(address)
        if stage.kind is StageKind.GATHER:
            raise UsageError(f"Stage {stage.name} gathers the values of a group; there is no one record to ask about.")
        with self._parts.store.transaction() as tx:
            view = self.view(tx, pipeline)
            node = node_of(view, stage.name, stage.default)
            found = self._version(tx, view, node, version)
        return Target(
            pipeline=pipeline,
            stage=stage,
            implementation=stage.default,
            version=found,
            runtime=runtime_of(view, node, found),
        )

    def _named(self, address: str) -> tuple[Pipeline, Stage]:
        pipelines = self._pipelines()
        places = [
            (pipeline, stage)
            for pipeline in pipelines.values()
            for stage in pipeline.stages
            if address in (stage.name, f"{pipeline.name}.{stage.name}")
        ]
        if not places:
            raise NotFound(f"There is no stage {address}; known are: {', '.join(self.addresses()) or 'none'}")
        if len(places) > 1:
            names = ", ".join(f"{pipeline.name}.{stage.name}" for pipeline, stage in places)
            raise UsageError(f"Several pipelines have a stage {address}; ask for one of: {names}")
        return places[0]

    def _version(self, tx: Transaction, view: View, node: Node, wanted: str | None) -> Version:
        """The active version, or the one whose digest begins so; where nothing was ever run, the one there is now."""
        place = (view.pipeline.name, node.stage.name, node.implementation)
        if wanted is not None:
            stored = tx.nodes.versions_of(*place)
            found = [one.version for one in stored if one.version.digest.startswith(wanted)]
            if len(found) != 1:
                known = ", ".join(one.version.digest[:12] for one in stored) or "none"
                raise NotFound(f"Stage {node.stage.name} has no version {wanted}; known are: {known}")
            return found[0]
        if node.version is not None:
            return tx.nodes.versions([node.version])[node.version].version
        return version_now(tx, view, node, self._parts.project)
