"""Where workers introduce themselves: which implementations they name, and in which versions they may serve them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct, structs

from limner.app.work_wire import Named
from limner.domain.pipelines import EXTERNAL, Implementation, Pipeline, Stage
from limner.domain.tasks import ModelRef
from limner.domain.versions import Description, Version, version_of
from limner.domain.workers import NOT_SERVED, Hello, Liveness, ServedVersion, Told, mismatch
from limner.store.nodes import StoredNode
from limner.store.store import Transaction

if TYPE_CHECKING:
    from limner.app.hosting import Host

_log = structlog.get_logger(__name__)


class Place(Struct, frozen=True, kw_only=True):
    """One implementation of one pipeline that a worker named."""

    pipeline: str
    stage: Stage
    implementation: str

    @property
    def address(self) -> str:
        """The topic of its tasks."""
        return f"{self.pipeline}.{self.stage.name}/{self.implementation}"


class Admission(Struct, frozen=True, kw_only=True):
    """What a worker may be given."""

    #: By address: the digests of the versions that it may be given tasks of.
    versions: Mapping[str, frozenset[str]]
    told: Sequence[Told]


def permits(scopes: frozenset[str], *, pipeline: str, stage: str) -> bool:
    """Whether a token with these scopes may do work of a stage."""
    return bool(scopes & {"admin", "work", f"work:{stage}", f"work:{pipeline}.{stage}"})


def _vouches(scopes: frozenset[str], *, pipeline: str, stage: str) -> bool:
    """Whether a token with these scopes may bring an implementation that no pipeline declares."""
    return bool(scopes & {"admin", f"work:{stage}", f"work:{pipeline}.{stage}"})


class Reception:
    """Knows which names mean which implementations, and admits workers to them."""

    def __init__(self, host: "Host", *, names: Mapping[str, str]) -> None:
        """*names* are other APIs' names of stages: each stands for ``stage`` or ``pipeline.stage``."""
        self._host = host
        self._names = dict(names)

    def hello(self, hello: Hello, *, scopes: frozenset[str], token_id: str | None) -> list[Told]:
        """Keep who a worker is and what it serves; why it is given no work of some of that, if so."""
        self._take_offers(hello, scopes=scopes, token_id=token_id)
        self._meet(hello, scopes=scopes)
        with self._host.app.store.transaction() as tx:
            told = self._kept(tx, hello, scopes=scopes)
        for one in told:
            _log.warning("worker_gets_no_work", worker=hello.worker_id, **structs.asdict(one))
        return told

    def _kept(self, tx: Transaction, hello: Hello, *, scopes: frozenset[str]) -> list[Told]:
        now = self._host.clock.now()
        told: list[Told] = []
        serves: dict[str, str] = {}
        for served in hello.serves:
            named = Named(served.stage, served.implementation)
            places = self.places(named)
            if not places:
                told.append(Told(served.stage, served.implementation, self._unknown(named)))
            for place in places:
                if not permits(scopes, pipeline=place.pipeline, stage=place.stage.name):
                    told.append(Told(served.stage, served.implementation, "the token's scope does not permit it"))
                    continue
                said = self._said(tx, place, served.version)
                why, fitting = self._fitting(tx, place, served.version)
                serves[place.address] = next(iter(fitting), said.digest if said else "")
                if why is not None:
                    told.append(Told(served.stage, served.implementation, why))
        tx.workers.hello(hello, serves=serves, now=now)
        return told

    def admit(self, tx: Transaction, hello: Hello, named: Sequence[Named], *, scopes: frozenset[str]) -> Admission:
        """What of *named* a worker that introduced itself as *hello* may be given now."""
        said: dict[str, ServedVersion] = {}
        for served in hello.serves:
            for place in self.places(Named(served.stage, served.implementation)):
                said[place.address] = served.version
        versions: dict[str, frozenset[str]] = {}
        told: list[Told] = []
        for one in named:
            places = self.places(one)
            if not places:
                told.append(Told(one.stage, one.implementation, self._unknown(one)))
            for place in places:
                why, fitting = self._admitted(tx, place, said, scopes=scopes)
                if why is None:
                    versions[place.address] = fitting
                else:
                    told.append(Told(one.stage, one.implementation, why))
        return Admission(versions=versions, told=told)

    def places(self, named: Named) -> list[Place]:
        """What a worker means by a stage and an implementation: in one pipeline, or in each that has the stage."""
        return [
            Place(pipeline=pipeline.name, stage=stage, implementation=named.implementation)
            for pipeline, stage in self._stages(named.stage)
            if named.implementation in stage.implementations
        ]

    def addresses(self, ready: Mapping[str, bool]) -> dict[str, bool]:
        """What a heartbeat says of ``stage/implementation``, by address."""
        found: dict[str, bool] = {}
        for name, well in ready.items():
            stage, _, implementation = name.partition("/")
            found.update((place.address, well) for place in self.places(Named(stage, implementation)))
        return found

    def _stages(self, name: str) -> list[tuple[Pipeline, Stage]]:
        name = self._names.get(name, name)
        wanted, _, last = name.rpartition(".")
        return [
            (pipeline, stage)
            for pipeline in self._host.pipelines.values()
            for stage in pipeline.stages
            if stage.name == last and wanted in ("", pipeline.name)
        ]

    def _unknown(self, named: Named) -> str:
        stages = self._stages(named.stage)
        if stages:
            known = sorted({way for _, stage in stages for way in stage.implementations})
            return f"the stage has no implementation {named.implementation}; it has: {', '.join(known)}"
        every = sorted({s.name for p in self._host.pipelines.values() for s in p.stages})
        return f"no pipeline here has a stage {named.stage}; known are: {', '.join(every) or 'none'}"

    def _admitted(
        self, tx: Transaction, place: Place, said: Mapping[str, ServedVersion], *, scopes: frozenset[str]
    ) -> tuple[str | None, frozenset[str]]:
        if not permits(scopes, pipeline=place.pipeline, stage=place.stage.name):
            return "the token's scope does not permit it", frozenset()
        if place.address not in said:
            return "the worker's hello did not name it", frozenset()
        return self._fitting(tx, place, said[place.address])

    def _fitting(self, tx: Transaction, place: Place, said: ServedVersion) -> tuple[str | None, frozenset[str]]:
        """Why a worker that says this gets no work of *place*, or the active versions that it serves."""
        active = self._active(tx, place)
        why = NOT_SERVED
        fitting = set()
        for version in active:
            wrong = self._wrong(place, version, said)
            if wrong is None:
                fitting.add(version.digest)
            else:
                why = f"{wrong}; the active version of {place.address} is another one"
        return (None if fitting else why), frozenset(fitting)

    def _wrong(self, place: Place, version: Version, said: ServedVersion) -> str | None:
        if said.digest is None and _way(place).infer == EXTERNAL:
            mine = _external(place, said)
            same = mine is not None and mine.digest == version.digest
            return (
                None if same else f"it serves code version {said.code or 'none'}, model {said.model_digest or 'none'}"
            )
        return mismatch(version, said)

    def _active(self, tx: Transaction, place: Place) -> list[Version]:
        """The versions of *place* that are served now, one for each way in which it is listed."""
        keys = sorted({node.active for node in self._nodes(tx, place) if node.active is not None})
        if keys:
            return [stored.version for stored in tx.nodes.versions(keys).values()]
        # No job has chosen it yet: it will be in the version that is known.
        known = self._host.known.get(place.pipeline)
        version = known.versions.get((place.stage.name, place.implementation)) if known else None
        return [] if version is None else [version]

    def _nodes(self, tx: Transaction, place: Place) -> list[StoredNode]:
        return [
            node
            for node in tx.nodes.of(place.pipeline)
            if (node.stage, node.implementation) == (place.stage.name, place.implementation) and not node.retired
        ]

    def _said(self, tx: Transaction, place: Place, said: ServedVersion) -> Version | None:
        """The version that a worker says it serves, as far as that can be told from what it says."""
        way = _way(place)
        if way.infer == EXTERNAL:
            return _external(place, said)
        model = tx.models.find(way.model) if way.model else None
        if said.code is None or said.environment is None or (way.model and model is None):
            return None
        description = Description(code=said.code, environment=said.environment)
        ref = model.ref if model else None
        return version_of(place.stage, implementation=place.implementation, description=description, model=ref)

    def _meet(self, hello: Hello, *, scopes: frozenset[str]) -> None:
        """
        Learn the versions that a worker brings along.

        They are of implementations that only outside workers hold, and of those that this process could not describe
        itself, for want of a package.
        """
        for served in hello.serves:
            for place in self.places(Named(served.stage, served.implementation)):
                if not permits(scopes, pipeline=place.pipeline, stage=place.stage.name):
                    continue
                with self._host.app.store.reading() as tx:
                    said = self._said(tx, place, served.version)
                    learn = _way(place).infer == EXTERNAL or not self._active(tx, place)
                if said is not None and learn:
                    way = (place.stage.name, place.implementation)
                    live = self._others_live(hello.worker_id, place)
                    self._host.met(way, pipeline=place.pipeline, version=said, live=live)

    def _others_live(self, me: str, place: Place) -> Callable[[str], bool]:
        """Says of a version's digest whether a live worker besides *me* serves it."""
        now = self._host.clock.now()
        with self._host.app.store.reading() as tx:
            others = {s.worker: s.version for s in tx.workers.served_by() if s.address == place.address}
            live = {w.hello.worker_id for w in tx.workers.listing() if w.liveness(now=now) is Liveness.LIVE}
        found = {version for worker, version in others.items() if worker in live and worker != me}
        return found.__contains__

    def _take_offers(self, hello: Hello, *, scopes: frozenset[str], token_id: str | None) -> None:
        """Take implementations in that no pipeline declares, where the token vouches for them."""
        offers = [
            (pipeline.name, stage.name, served.implementation)
            for served in hello.serves
            if not self.places(Named(served.stage, served.implementation))
            for pipeline, stage in self._stages(served.stage)
            if _vouches(scopes, pipeline=pipeline.name, stage=stage.name)
        ]
        if not offers:
            return
        with self._host.app.store.transaction() as tx:
            for pipeline, stage, implementation in offers:
                tx.workers.offer(pipeline, stage, implementation, by=token_id or "", now=self._host.clock.now())
        self._host.offered()


def _way(place: Place) -> Implementation:
    return place.stage.chosen(place.implementation)


def _external(place: Place, said: ServedVersion) -> Version | None:
    """The version of an implementation of which the server knows only what its workers say."""
    if said.code is None:
        return None
    environment = dict(said.environment or {})
    for name in ("environment_digest", "params_digest"):
        digest = getattr(said, name)
        if digest is not None and not (name == "environment_digest" and said.environment is not None):
            environment[name] = digest
    model = None
    if said.model_digest:
        model = ModelRef(name=place.implementation, number=0, sha256=said.model_digest, filename="")
    description = Description(code=said.code, environment=environment)
    return version_of(place.stage, implementation=place.implementation, description=description, model=model)
