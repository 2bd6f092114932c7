"""The application: the one place where parts are wired together, and what every door offers."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from limner.addresses import AddressGuard
from limner.app import looking
from limner.app.declared import Declared, load_target
from limner.app.described import Now, now_of
from limner.app.lock import EngineLock
from limner.app.running import Progress, Request, Runner, Summary
from limner.artifacts.base import Artifacts
from limner.artifacts.connect import connect_artifacts
from limner.bus.base import Bus
from limner.bus.connect import connect_bus
from limner.clock import Clock, SystemClock
from limner.domain.jobs import Counts
from limner.domain.pipelines import Pipeline
from limner.domain.records import ExportRow, Shape
from limner.engine.engine import Engine
from limner.engine.estimate import Plan, estimate
from limner.engine.views import View
from limner.errors import ConfigurationError, NotFound
from limner.models.registry import Registry
from limner.settings import Project, load_project
from limner.sinks.connect import connect_sink
from limner.sinks.layout import survey
from limner.sources.base import Columns, Source
from limner.sources.connect import connect_source
from limner.store.connect import connect_store
from limner.store.store import Store, Transaction
from limner.worker.cache import FileCache, keep_for
from limner.worker.fetch import Fetcher, Resolver
from limner.worker.worker import Worker

#: Rows of a collection in one page of an export.
_PAGE = 1000


def _silent(_: Progress) -> None:
    return


def open_app(folder: Path | str = ".", **options: object) -> "App":
    """
    The application over the project in *folder*; *options* override its settings.

    Raises:
        ConfigurationError: a setting is wrong; the sentence names it.
        StoreUnavailable: the store cannot be opened.
    """
    return App(load_project(folder, options=options))


class App:
    """Everything that Limner offers over one project; every door (command line, notebook, server) uses this."""

    def __init__(self, project: Project, *, clock: Clock | None = None) -> None:
        self.project = project
        self.settings = project.settings
        self.clock = clock or SystemClock()
        self.declared = Declared(project)

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
        return connect_artifacts(self.project.url(self.settings.artifacts))

    @cached_property
    def registry(self) -> Registry:
        """The models."""
        return Registry(self.store, self.artifacts, self.clock)

    def pipeline(self, name: str) -> Pipeline:
        """The pipeline called *name*, or declared by the file *name*."""
        return self.declared.pipeline(name)

    # Runs and plans

    def run(
        self,
        pipeline: str,
        source: str | Path | Sequence[str | Path] | None = None,
        *,
        collection: str | None = None,
        shape: str | None = None,
        ids: Sequence[str] | None = None,
        since: int | None = None,
        until: int | None = None,
        full: bool = False,
        choices: Mapping[str, Sequence[str]] | None = None,
        priority: int = 0,
        progress: Callable[[Progress], None] = _silent,
    ) -> Summary:
        """
        Take records of *source*, or of several, in (none: those that are stored) and work until all are current.

        *ids*, *since* and *until* (source versions, the end left out) narrow the scope; *full* looks at every record
        although no version moved; *choices* names implementations by stage.

        Raises:
            UsageError: the scope is empty, or something named does not exist.
            Interrupted: the user stopped it; the same call goes on with it.
        """
        declared = self.pipeline(pipeline)
        named = [source] if isinstance(source, str | Path) else list(source or ())
        opened = [self.source(declared, one, collection=collection, shape=shape) for one in named]
        request = Request(
            pipeline=declared.name,
            pages=(page for one in opened for page in one.read(page=2000)) if opened else None,
            ids=ids,
            since=since,
            until=until,
            full=full,
            choices=choices or {},
            priority=priority,
            detail={"source": "; ".join(one.describe() for one in opened)} if opened else {},
        )
        engine = self._engine(pipeline)
        versions = self._now(engine, declared.name, request.choices).versions
        return self._runner(engine).run(request, versions, progress=progress)

    def plan(
        self,
        pipeline: str,
        *,
        ids: Sequence[str] | None = None,
        full: bool = False,
        choices: Mapping[str, Sequence[str]] | None = None,
    ) -> Plan:
        """What a run of the stored records would do, why, how much of it and about how long; runs nothing."""
        declared = self.pipeline(pipeline)
        engine = self._engine(pipeline)
        now = self._now(engine, declared.name, choices or {})
        cache = self._cache()
        with self.store.reading() as tx:
            view = engine.view(tx, declared.name, _lists(choices))
            only = None if ids is None else [looking.find_record(tx, declared.collection, i).pk for i in ids]
            return estimate(
                tx,
                view,
                now.versions,
                waiting=now.waiting,
                full=full,
                only=only,
                kept=lambda ref: cache.knows(ref.url, revision=ref.revision),
            )

    def retry(self, job: str, *, cancelled: bool = True, progress: Callable[[Progress], None] = _silent) -> Summary:
        """Try again what failed, and unless told otherwise what was cancelled, in a job, as a new round of it."""
        with self.store.reading() as tx:
            found = tx.jobs.get(job)
        engine = self._engine(found.pipeline)
        runner = self._runner(engine)
        versions = self._now(engine, found.pipeline, found.choices).versions
        return runner.retry(found, versions, cancelled=cancelled, progress=progress)

    def cancel(self, job: str) -> Counts:
        """Stop a job; what it finished stays."""
        with self.store.reading() as tx:
            found = tx.jobs.get(job)
        engine = self._engine(found.pipeline)
        with self.store.transaction() as tx:
            return engine.desk.cancel(tx, job, engine.scopes(tx))

    # Looks

    def status(self) -> list[looking.PipelineStatus]:
        """Where the project's pipelines stand, and any other that was run here."""
        with self.store.transaction() as tx:
            names = {node.pipeline for node in tx.nodes.all()}
            wanted = [name for name in self.declared.pipelines if name in names or name in self.declared.own]
            return [looking.pipeline_status(tx, self._engine(name).view(tx, name, {})) for name in wanted]

    def jobs(self, *, limit: int = 20) -> list[looking.JobStatus]:
        """The newest jobs."""
        with self.store.reading() as tx:
            return [looking.job_status(tx, job) for job in tx.jobs.listing(limit=limit)]

    def job(self, identity: str) -> looking.JobStatus:
        """Where a job stands."""
        with self.store.reading() as tx:
            return looking.job_status(tx, tx.jobs.get(identity))

    def failures(self, job: str | None = None, *, limit: int = 1000) -> list[looking.FailureRow]:
        """What failed and is not mended: in a job, or in everything that stands."""
        found: list[looking.FailureRow] = []
        with self.store.transaction() as tx:
            names = [tx.jobs.get(job).pipeline] if job else sorted({node.pipeline for node in tx.nodes.all()})
            for name in names:
                if name in self.declared.pipelines:
                    choices = dict(tx.jobs.get(job).choices) if job else {}
                    view = self._engine(name).view(tx, name, choices)
                    found += looking.failures(tx, view, job=job, limit=limit - len(found))
        return found

    def why(self, collection: str, identity: str, *, stage: str | None = None) -> looking.Why:
        """Where everything that is known of a record came from."""
        with self.store.reading() as tx:
            return looking.why(tx, collection, identity, stage=stage)

    def records(self, collection: str) -> Iterator[ExportRow]:
        """The live records of a collection with their current values and where each came from, in a stream."""
        after = 0
        while True:
            with self.store.transaction() as tx:
                page = list(looking.rows_of(tx, self._views(tx), collection, after=after, limit=_PAGE))
            if not page:
                return
            after = page[-1][0]
            yield from (row for _, row in page)

    def export(self, collection: str, to: str | Path, *, shape: str | None = None) -> int:
        """Write a collection with its values to a file; how many records that were."""
        with self.store.transaction() as tx:
            views = self._views(tx)
        stages = [n.stage for view in views for n in view.nodes if n.collection == collection]
        if shape is not None and shape not in self.shapes():
            raise NotFound(f"There is no shape {shape}; known are: {', '.join(self.shapes()) or 'none'}")
        sink = connect_sink(to, shape=self.shapes()[shape] if shape else None)
        outputs = {stage.name: stage.outputs for stage in stages}
        count = 0
        with sink:
            sink.open(survey(self.records(collection), outputs=outputs))
            page: list[ExportRow] = []
            for row in self.records(collection):
                page.append(row)
                count += 1
                if len(page) == _PAGE:
                    sink.write(page)
                    page = []
            sink.write(page)
            sink.close()
        return count

    # Parts

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
        return connect_source(
            spec,
            collection=filled,
            shape=shape,
            shapes=self.shapes() if shape else {},
            columns=Columns(parent_collection=_parents(pipeline, filled)),
            address_field=_address_field(pipeline),
        )

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

    def _engine(self, pipeline: str) -> Engine:
        """An engine that serves *pipeline* and the project's own."""
        return Engine(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            pipelines=self.declared.at_work(pipeline),
            lease=timedelta(seconds=self.settings.lease),
            in_flight=self.settings.in_flight,
        )

    def _runner(self, engine: Engine) -> Runner:
        return Runner(
            engine=engine,
            lock=EngineLock(self.project.path(".limner/engine.lock")),
            clock=self.clock,
            working=self._working,
        )

    @contextmanager
    def _working(self, topics: list[str]) -> Iterator[None]:
        """A worker in this process serves *topics* until the block ends; what it fetched is kept as settings say."""
        fetcher = Fetcher(
            self._cache(),
            guard=self.guard(),
            clock=self.clock,
            artifacts=self.artifacts,
            resolvers=self._resolvers(),
            at_once=self.settings.per_host,
            rate=self.settings.per_host_rate or None,
        )
        worker = Worker(
            self.bus,
            fetcher=fetcher,
            artifacts=self.artifacts,
            project=self.project.folder,
            name=f"{socket.gethostname()}-{os.getpid()}",
            clock=self.clock,
            topics=topics,
            parallel=self.settings.parallel or max(1, (os.cpu_count() or 2) // 2),
            cache=self.project.path(self.settings.cache),
            allow_hosts=self.settings.allow_hosts,
            log=self.project.path(".limner/inferrers.log"),
            wait=timedelta(seconds=0.1),
        )
        worker.start()
        try:
            yield
        finally:
            worker.stop(timedelta(seconds=5))
            fetcher.close()

    def _resolvers(self) -> dict[str, Resolver]:
        """The resolvers of addresses that pipelines name, by name."""
        named = {
            read.file.resolver
            for pipeline in self.declared.own.values()
            for stage in pipeline.stages
            for read in stage.reads.values()
            if read.file and read.file.resolver
        }
        found: dict[str, Resolver] = {}
        for system in self.declared.systems.values() if named or not self.declared.own else ():
            for name, target in system.resolvers.items():
                resolve = load_target(target)
                if not callable(resolve):
                    raise ConfigurationError(f"{target} is no function.")
                found[name] = resolve
        return found

    def _cache(self) -> FileCache:
        return FileCache(
            self.project.path(self.settings.cache),
            clock=self.clock,
            keep=keep_for(self.settings.keep),
            max_bytes=self.settings.cache_bytes,
        )

    def _now(self, engine: Engine, pipeline: str, choices: Mapping[str, Sequence[str]]) -> Now:
        """The versions that a pipeline's nodes have now."""
        self._add_shipped_models(engine.pipelines[pipeline])
        with self.store.transaction() as tx:
            view = engine.view(tx, pipeline, _lists(choices))
        with self.store.reading() as tx:
            return now_of(tx, view, self.project)

    def _add_shipped_models(self, pipeline: Pipeline) -> None:
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

    def _views(self, tx: Transaction) -> list[View]:
        """The default views of every pipeline that was run here."""
        names = {node.pipeline for node in tx.nodes.all()} & set(self.declared.pipelines)
        return [self._engine(name).view(tx, name, {}) for name in sorted(names)]

    def close(self) -> None:
        """Let go of the store and the bus."""
        if "store" in self.__dict__:
            self.store.close()
        if "bus" in self.__dict__:
            self.bus.close()

    def __enter__(self) -> "App":
        """The application itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the store and the bus."""
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


def _lists(choices: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]]:
    return {stage: list(ways) for stage, ways in (choices or {}).items()}
