"""The parts: wired together here and nowhere else."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Self

from limner.addresses import AddressGuard
from limner.app.asking import infer_file
from limner.app.declared import Declared, load_target
from limner.app.described import Now, now_of, with_offers
from limner.app.fetching import cache_of, resolvers_of
from limner.app.lock import EngineLock, SharedLock
from limner.app.preparing import lists
from limner.app.running import Runner
from limner.app.searching import Indexed, indexed_collections
from limner.artifacts.base import Artifacts
from limner.artifacts.connect import connect_artifacts
from limner.bus.base import Bus
from limner.bus.connect import connect_bus
from limner.clock import Clock, SystemClock
from limner.domain.pipelines import Pipeline
from limner.domain.records import Shape
from limner.domain.slicing import ARROW, name_of_slice
from limner.domain.tasks import Runtime
from limner.domain.values import Value
from limner.engine.engine import Engine
from limner.engine.views import View, resolve
from limner.errors import ConfigurationError, NotFound, UsageError
from limner.models.registry import Registry
from limner.search.base import SearchIndex
from limner.search.kept import Indexes
from limner.settings import Project
from limner.sources.base import Columns, Source
from limner.sources.connect import connect_slices, connect_source
from limner.store.connect import connect_store
from limner.store.files import HeldArtifact
from limner.store.store import Store, Transaction
from limner.worker.fetch import Fetcher
from limner.worker.growth import MEGABYTE
from limner.worker.worker import Worker

#: Rows of a collection in one page of an export.
_PAGE = 1000


class Parts:
    """Everything that a project's settings name, opened when it is first used."""

    def __init__(self, project: Project, *, clock: Clock | None = None) -> None:
        self.project = project
        self.settings = project.settings
        self.clock = clock or SystemClock()
        self.declared = Declared(project)
        self._views: tuple[object, list[View]] = (None, [])

    @cached_property
    def store(self) -> Store:
        """The store, opened and brought up to this version's schema."""
        return connect_store(self.project.url(self.settings.store))

    @cached_property
    def bus(self) -> Bus:
        """The bus."""
        return connect_bus(self.settings.bus)

    @cached_property
    def artifacts(self) -> Artifacts:
        """The artifacts."""
        return connect_artifacts(self.project.url(self.settings.artifacts), copies=self.project.copies)

    @cached_property
    def indexes(self) -> Indexes:
        """The search indexes."""
        return Indexes(self.project.url(self.settings.index))

    @cached_property
    def registry(self) -> Registry:
        """The models."""
        return Registry(self.store, self.artifacts, self.clock)

    def pipeline(self, name: str) -> Pipeline:
        """The pipeline called *name*, or declared by the file *name*."""
        return self.declared.pipeline(name)

    def source(
        self, pipeline: Pipeline, spec: str | Path, *, collection: str | None = None, shape: str | None = None
    ) -> Source:
        """The source that *spec* names, filling *collection* (the pipeline's own if None)."""
        place = Path(spec)
        if str(spec) != "-" and place.exists():
            folder = place.resolve() if place.is_dir() else place.resolve().parent
            with self.store.transaction() as tx:
                tx.roots.add([str(folder)])
        filled = collection or pipeline.collection
        if pipeline.slices is not None:
            if shape is not None or filled != pipeline.collection:
                raise UsageError(
                    f"Pipeline {pipeline.name} is over slices, which takes neither --shape nor --collection."
                )
            return connect_slices(
                spec,
                collection=filled,
                rows=pipeline.slices,
                keep=self._kept,
                known=partial(self._slices, filled),
            )
        return connect_source(
            spec,
            collection=filled,
            shape=shape,
            shapes=self.shapes() if shape else {},
            columns=Columns(parent_collection=_parents(pipeline, filled)),
            address_field=_address_field(pipeline),
        )

    def _kept(self, data: bytes) -> str:
        """Put the columns of a slice among the artifacts, from where workers may fetch them."""
        sha256 = self.artifacts.put(data)
        with self.store.transaction() as tx:
            tx.held.add([HeldArtifact(sha256=sha256, size=len(data), kind=ARROW)], at=self.clock.now())
        return sha256

    def _slices(self, collection: str, table: str) -> list[str]:
        """The slices of a table that are stored, in their order."""
        with self.store.reading() as tx:
            key, found = tx.records.find_collection(collection), list[str]()
            while key is not None:
                names = [name_of_slice(table, len(found) + at) for at in range(_PAGE)]
                stored = tx.records.keys(key, names)
                found += sorted(stored)
                if len(stored) < _PAGE:
                    break
        return found

    def parents(self, pipeline: Pipeline, collection: str) -> str | None:
        """The collection that parents of the records of *collection* are in, as far as the pipeline tells."""
        return _parents(pipeline, collection)

    def shapes(self) -> dict[str, Shape]:
        """The shapes of foreign records that the installed systems bring."""
        found: dict[str, Shape] = {}
        for system in self.declared.systems.values():
            for name, target in system.shapes.items():
                shape = load_target(target)
                if not isinstance(shape, Shape):
                    raise ConfigurationError(f"{target} is no Shape.")
                found[name] = shape
        return found

    def guard(self) -> AddressGuard:
        """The guard of every address that is fetched or called."""
        roots = [self.project.folder, *(self.project.path(r) for r in self.settings.file_roots)]
        with self.store.reading() as tx:
            roots += [Path(root) for root in tx.roots.listing()]
        return AddressGuard(allow_hosts=self.settings.allow_hosts, file_roots=roots)

    def engine(self, pipeline: str) -> Engine:
        """An engine that serves *pipeline* and the project's own."""
        return self.engine_of(self.declared.at_work(pipeline))

    def engine_of(self, pipelines: Mapping[str, Pipeline], *, in_flight: int = 0) -> Engine:
        """
        An engine that serves *pipelines*, with what outside workers offer besides.

        It hands out *in_flight* tasks of each implementation at a time, and as many as the settings say at least.
        """
        with self.store.reading() as tx:
            offers = tx.workers.offers()
        return Engine(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            pipelines=with_offers(pipelines, offers),
            lease=timedelta(seconds=self.settings.lease),
            in_flight=max(in_flight, self.settings.in_flight),
        )

    @cached_property
    def lock(self) -> EngineLock | SharedLock:
        """The lock of the process that runs the engine."""
        leadership = self.store.leadership
        return SharedLock(leadership) if leadership.offered else EngineLock(self.project.home / "engine.lock")

    def runner(self, engine: Engine, *, parallel: int | None = None) -> Runner:
        """What runs jobs with *engine* in this process; *parallel* as in :meth:`working`."""
        return Runner(
            engine=engine,
            lock=self.lock,
            clock=self.clock,
            working=partial(self.working, parallel=parallel),
        )

    def fetcher(self) -> Fetcher:
        """A fetcher, to be closed by the caller; what it fetched is kept as the settings say."""
        return Fetcher(
            cache_of(self.project, clock=self.clock),
            guard=self.guard(),
            clock=self.clock,
            artifacts=self.artifacts,
            resolvers=resolvers_of(self.declared),
            at_once=self.settings.per_host,
            rate=self.settings.per_host_rate or None,
            connect=timedelta(seconds=self.settings.connect_timeout),
            total=timedelta(seconds=self.settings.fetch_timeout),
            max_bytes_in_flight=self.settings.max_bytes_in_flight,
        )

    @contextmanager
    def fetching(self) -> Iterator[Fetcher]:
        """A fetcher; what it fetched is kept as the settings say."""
        fetcher = self.fetcher()
        try:
            yield fetcher
        finally:
            fetcher.close()

    @contextmanager
    def working(self, topics: list[str], *, parallel: int | None = None, bus: Bus | None = None) -> Iterator[Worker]:
        """
        A worker in this process serves *topics* until the block ends; what it fetched is kept as settings say.

        *parallel* is how many inferrers of each there are; None means as the settings say. *bus* stands in for ours.
        """
        with self.fetching() as fetcher:
            worker = Worker(
                bus or self.bus,
                fetcher=fetcher,
                artifacts=self.artifacts,
                project=self.project.folder,
                name=f"{socket.gethostname()}-{os.getpid()}",
                clock=self.clock,
                topics=topics,
                parallel=parallel or self.settings.parallel or max(1, (os.cpu_count() or 2) // 2),
                cache=self.project.path(self.settings.cache),
                allow_hosts=self.settings.allow_hosts,
                log=self.project.home / "inferrers.log",
                wait=timedelta(seconds=0.1),
                max_value_bytes=self.settings.max_value_bytes,
                max_growth=self.settings.max_growth_mb * MEGABYTE or None,
            )
            worker.start()
            try:
                yield worker
            finally:
                worker.stop(timedelta(seconds=5))

    def now(self, engine: Engine, pipeline: str, choices: Mapping[str, Sequence[str]]) -> Now:
        """The versions that a pipeline's nodes have now."""
        self.add_shipped_models(engine.pipelines[pipeline])
        with self.store.transaction() as tx:
            view = engine.view(tx, pipeline, lists(choices))
        with self.store.reading() as tx:
            return now_of(tx, view, self.project)

    def add_shipped_models(self, pipeline: Pipeline) -> None:
        """Add the models that a system ships and that a pipeline names, where the registry has none of the name."""
        named = {
            way.model.partition("@")[0]
            for stage in pipeline.stages
            for way in stage.implementations.values()
            if way.model
        }
        for system in self.declared.systems.values() if named else ():
            for name in named & set(system.models):
                if not self.registry.listing(name):
                    with _resource(system.models[name]) as file:
                        self.registry.add(name, file, origin={"shipped with": f"limner.systems.{system.name}"})

    def views(self, tx: Transaction) -> list[View]:
        """The default views of every pipeline that was run here, resolved again only when a node moved."""
        stored = tx.nodes.all()
        state = tuple((node.pk, node.active, node.retired) for node in stored)
        before, views = self._views
        if before != state:
            names = sorted({node.pipeline for node in stored} & set(self.declared.pipelines))
            # Whoever only looks makes nothing: what was never run has no values either.
            views = [resolve(tx, self.declared.pipelines[name], create=False) for name in names]
            if all(all(view.collections.values()) for view in views):
                self._views = (state, views)
        return views

    def open_indexes(self, pipeline: str) -> dict[Indexed, SearchIndex]:
        """The indexes of a pipeline by the collection they are of; the caller closes them."""
        with self.store.transaction() as tx:
            view = self.engine(pipeline).view(tx, pipeline, {})
        return {one: one.index() for one in indexed_collections(self.store, self.indexes, view)}

    def indexed(self, collection: str) -> Indexed:
        """The collection with its index, in the pipeline that was run here."""
        with self.store.transaction() as tx:
            views = self.views(tx)
        found = [one for view in views for one in indexed_collections(self.store, self.indexes, view)]
        for one in found:
            if one.collection == collection:
                return one
        known = ", ".join(sorted({one.collection for one in found})) or "none; run a pipeline first"
        raise NotFound(f"No collection {collection} is searched here; known are: {known}")

    def infer_file(self, runtime: Runtime, file: Path) -> Value:
        """What an inferrer makes of a file now."""
        with ExitStack() as stack:
            model = None
            if runtime.model is not None:
                number = f"{runtime.model.name}@{runtime.model.number}"
                model = stack.enter_context(self.registry.file(self.registry.show(number).version))
            return infer_file(
                runtime, file, project=self.project.folder, model=model, allow_hosts=self.settings.allow_hosts
            )

    def close(self) -> None:
        """Let go of the store, the bus and the indexes."""
        if "store" in self.__dict__:
            self.store.close()
        if "indexes" in self.__dict__:
            self.indexes.close()
        if "bus" in self.__dict__:
            self.bus.close()

    def __enter__(self) -> Self:
        """The parts themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the store, the bus and the indexes."""
        self.close()


@contextmanager
def _resource(place: str) -> Iterator[Path]:
    """The file behind ``package:path``."""
    from importlib.resources import as_file, files

    package, _, path = place.partition(":")
    with as_file(files(package).joinpath(path)) as file:
        if not file.is_file():
            raise NotFound(f"{place} is not installed.")
        yield file


def _address_field(pipeline: Pipeline) -> str:
    """The field under which a folder gives its files: the one that the pipeline reads files from."""
    for stage in pipeline.stages:
        for read in stage.reads.values():
            if read.file is not None and not read.path.startswith("parent."):
                return read.path
    return "image_url"


def _parents(pipeline: Pipeline, collection: str) -> str | None:
    """The collection of the parents of *collection*, as far as a gather by parent tells."""
    holders = (pipeline.over(stage) for stage in pipeline.stages if stage.by == "parent" and stage.of == collection)
    return next(holders, None)
