"""The application: what every door offers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import structlog
from msgspec import structs

from limner.app.announcing import announce
from limner.app.auditing import Audit, audit
from limner.app.failed import FailureRow, failed_rows
from limner.app.fetching import cache_of
from limner.app.looking import keys_in_scope, rows_of
from limner.app.origins import Why, explained
from limner.app.parts import Parts
from limner.app.preparing import Request, lists
from limner.app.running import PAGE, Progress, Summary
from limner.app.searching import Question, answer, catch_up
from limner.app.slices import count_rows, tables_of, write_tables
from limner.app.status import JobStatus, PipelineStatus, job_status, pipeline_status
from limner.app.teaching import samples_of, trainer_named, trainer_of_model
from limner.domain.jobs import Counts
from limner.domain.models import ModelVersion
from limner.domain.pipelines import Pipeline
from limner.domain.records import ExportRow
from limner.domain.values import Value
from limner.engine.estimate import Plan, estimate
from limner.errors import EventsUnavailable, NotFound, UsageError
from limner.models.training import Trained, gate_of, train
from limner.search.base import Page, Query
from limner.settings import load_project
from limner.sinks.connect import connect_sink
from limner.sinks.layout import survey
from limner.sources.base import Source

if TYPE_CHECKING:
    # Part of an extra, and a second of loading.
    import pyarrow

_log = structlog.get_logger(__name__)

#: Rows of a collection in one page of an export.
_PAGE = 1000
#: Slices in one transaction of the intake.
_PAGE_OF_SLICES = 2


def _silent(_: Progress) -> None:
    return


def _uncounted(_: int) -> None:
    return


class App(Parts):
    """Everything that Limner offers over one project; every door (command line, notebook, server) uses this."""

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
        # The first slices are inferred while the others are read.
        size = _PAGE_OF_SLICES if declared.slices else PAGE
        request = Request(
            pipeline=declared.name,
            pages=(page for one in opened for page in one.read(page=size)) if opened else None,
            ids=ids,
            since=since,
            until=until,
            full=full,
            choices=choices or {},
            priority=priority,
            detail={"source": "; ".join(one.describe() for one in opened)} if opened else {},
        )
        engine = self.engine(pipeline)
        versions = self.now(engine, declared.name, request.choices).versions
        summary = self.runner(engine).run(request, versions, progress=progress)
        self.index(declared.name)
        self.announce()
        if declared.slices is None:
            return summary
        return structs.replace(summary, rows=count_rows(self.records(declared.collection)))

    def announce(self) -> None:
        """Publish the events that are owed; where their broker is away, the next run or a server does."""
        try:
            announce(self)
        except EventsUnavailable as error:
            _log.warning("events_wait", project=self.project.name, reason=str(error))

    def plan(
        self,
        pipeline: str,
        *,
        ids: Sequence[str] | None = None,
        since: int | None = None,
        until: int | None = None,
        full: bool = False,
        choices: Mapping[str, Sequence[str]] | None = None,
    ) -> Plan:
        """
        What a run of the stored records would do, why, how much of it and about how long; runs nothing.

        Raises:
            UsageError: the scope is empty, or something named does not exist.
        """
        declared = self.pipeline(pipeline)
        engine = self.engine(pipeline)
        now = self.now(engine, declared.name, choices or {})
        cache = cache_of(self.project, clock=self.clock)
        with self.store.reading() as tx:
            view = engine.view(tx, declared.name, lists(choices))
            only = keys_in_scope(tx, declared.collection, ids=ids, since=since, until=until)
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
        engine = self.engine(found.pipeline)
        runner = self.runner(engine)
        versions = self.now(engine, found.pipeline, found.choices).versions
        return runner.retry(found, versions, cancelled=cancelled, progress=progress)

    def cancel(self, job: str) -> Counts:
        """Stop a job; what it finished stays."""
        with self.store.reading() as tx:
            found = tx.jobs.get(job)
        engine = self.engine(found.pipeline)
        with self.store.transaction() as tx:
            return engine.desk.cancel(tx, job, engine.scopes(tx))

    def status(self) -> list[PipelineStatus]:
        """Where the project's pipelines stand, and any other that was run here."""
        with self.store.transaction() as tx:
            names = {node.pipeline for node in tx.nodes.all()}
            wanted = [name for name in self.declared.pipelines if name in names or name in self.declared.own]
            return [pipeline_status(tx, self.engine(name).view(tx, name, {})) for name in wanted]

    def jobs(self, *, limit: int = 20) -> list[JobStatus]:
        """The newest jobs."""
        with self.store.reading() as tx:
            return [job_status(tx, job) for job in tx.jobs.listing(limit=limit)]

    def job(self, identity: str) -> JobStatus:
        """Where a job stands."""
        with self.store.reading() as tx:
            return job_status(tx, tx.jobs.get(identity))

    def failures(self, job: str | None = None, *, limit: int = 1000) -> list[FailureRow]:
        """What failed and is not mended: in a job, or in everything that stands."""
        found: list[FailureRow] = []
        with self.store.transaction() as tx:
            names = [tx.jobs.get(job).pipeline] if job else sorted({node.pipeline for node in tx.nodes.all()})
            for name in names:
                if name in self.declared.pipelines:
                    choices = dict(tx.jobs.get(job).choices) if job else {}
                    view = self.engine(name).view(tx, name, choices)
                    found += failed_rows(tx, view, job=job, limit=limit - len(found))
        return found

    def why(self, collection: str, identity: str, *, stage: str | None = None) -> Why:
        """Where everything that is known of a record came from."""
        with self.store.reading() as tx:
            return explained(tx, collection, identity, stage=stage)

    def records(self, collection: str) -> Iterator[ExportRow]:
        """The live records of a collection with their current values and where each came from, in a stream."""
        after = 0
        while True:
            with self.store.reading() as tx:
                page = list(rows_of(tx, self.views(tx), collection, after=after, limit=_PAGE))
            if not page:
                return
            after = page[-1][0]
            yield from (row for _, row in page)

    def tables(self, collection: str, *, ids: Sequence[str] | None = None) -> "Iterator[pyarrow.Table]":
        """
        The rows of a collection of slices with what was inferred about them, slice by slice; *ids* narrow it to some.

        Columns are those of the source, then ``stage.output`` and, where a row has none, ``stage._failed`` (the
        failure's code), ``stage._message`` and ``stage._skipped`` (the reason).

        Raises:
            UsageError: no pipeline is over slices of this collection.
        """
        if not self._is_sliced(collection):
            raise UsageError(f"{collection} is no collection of slices, which a pipeline with slices=… makes.")
        return tables_of(self.records(collection), self.artifacts, ids=ids)

    def _is_sliced(self, collection: str) -> bool:
        found = self.declared.pipelines.values()
        return any(p.slices is not None and p.collection == collection for p in found)

    def export(self, collection: str, to: str | Path, *, shape: str | None = None) -> int:
        """Write a collection with its values to a file; how many records, or rows of slices, that were."""
        if self._is_sliced(collection):
            if shape is not None:
                raise UsageError(f"{collection} holds slices, which have no shape; leave --shape out.")
            return write_tables(self.tables(collection), Path(to))
        with self.store.reading() as tx:
            views = self.views(tx)
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

    def search(
        self,
        collection: str,
        text: str = "",
        *,
        similar: str | None = None,
        file: Path | None = None,
        on: str | None = None,
        by: Mapping[str, str] | None = None,
        where: Sequence[str] = (),
        min_score: float | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> Page:
        """
        One query over words, filters and likeness: to a record (*similar*), to a file, or *by* a kind of query.

        *where* are comparisons such as ``licence=pdm`` or ``aspect_ratio.value>=1.5``; *on* names the vector.

        Raises:
            UsageError: the query cannot be asked so; the sentence says what can.
            SearchUnavailable: the index cannot be read; this is never an empty answer.
        """
        one = self.indexed(collection)
        with self.store.reading() as tx:
            stored = tx.nodes.versions(list(one.view.versions.values()))
        versions = {node.pk: stored[node.version].version for node in one.view.nodes if node.version in stored}
        question = Question(one, versions=versions, infer=self.infer_file)
        near = question.near(similar=similar, file=file, on=on, by=by or {}, min_score=min_score)
        query = Query(
            text=text,
            filters=question.conditions(where),
            near=near,
            hide_incomplete=self.settings.incomplete == "hide",
            limit=limit,
            offset=offset,
        )
        with closing(one.index()) as index:
            return answer(index, query, collection=collection, pipeline=one.view.pipeline.name)

    def audit(self, pipeline: str, *, repair: bool = False, source: str | Path | None = None) -> Audit:
        """
        Compare source (if one is given), records, results and index; *repair* mends what can be mended by itself.

        Failed records are retried by :meth:`retry`, not here. After a repair, what is found then.
        """
        declared = self.pipeline(pipeline)
        listed = None if source is None else self.source(declared, source)
        found = self._audit(declared, listed)
        if not repair or found.clean:
            return found
        self.run(declared.name, full=True)
        for one, index in self.open_indexes(declared.name).items():
            with closing(index):
                one.follower(index).mend(
                    missing=found.unindexed.get(one.collection, []), extra=found.strays.get(one.collection, [])
                )
        return self._audit(declared, listed)

    def _audit(self, pipeline: Pipeline, source: Source | None) -> Audit:
        engine = self.engine(pipeline.name)
        with self.store.transaction() as tx:
            view = engine.view(tx, pipeline.name, {})
        indexes = self.open_indexes(pipeline.name)
        try:
            return audit(self.store, view, indexes, source_ids=None if source is None else source.ids())
        finally:
            for index in indexes.values():
                index.close()

    def reindex(self, pipeline: str, *, progress: Callable[[int], None] = _uncounted) -> None:
        """Build the indexes of a pipeline anew from the store; the old ones answer until they are done."""
        for one, index in self.open_indexes(self.pipeline(pipeline).name).items():
            with closing(index):
                one.follower(index).rebuild(progress=progress)

    def index(self, pipeline: str, *, progress: Callable[[int], None] = _uncounted) -> None:
        """Let the indexes of a pipeline take in what changed."""
        with self.store.transaction() as tx:
            view = self.engine(pipeline).view(tx, pipeline, {})
        catch_up(self.store, self.indexes, view, progress=progress)

    def train(
        self,
        name: str,
        *,
        seed: int = 1,
        sample: int | None = None,
        parameters: Mapping[str, Value] | None = None,
    ) -> Trained:
        """
        Train a model on what is stored, by a system's trainer; it becomes champion only if there is none and the gate
        accepts it.

        Raises:
            NotFound: there is no such trainer; the sentence names the known ones.
        """
        trainer = trainer_named(self, name)
        with TemporaryDirectory(prefix="limner-train-") as folder:
            return train(
                self.registry,
                trainer,
                samples_of(self, trainer),
                seed=seed,
                workdir=Path(folder),
                sample=sample,
                parameters=parameters,
            )

    def promote(
        self, reference: str, alias: str = "champion", *, force: bool = False, by: str = "user"
    ) -> ModelVersion:
        """
        Let an alias stand for a version, if the gate of its trainer accepts it.

        Raises:
            ModelRefused: the gate refuses it; the sentence holds the figures.
        """
        version = self.registry.show(reference).version
        trainer = trainer_of_model(self, version.name)
        reasons: Sequence[str] = ()
        if trainer is not None and trainer.gate is not None and alias == "champion":
            with TemporaryDirectory(prefix="limner-gate-") as folder:
                reasons = gate_of(
                    self.registry, trainer, version, samples_of(self, trainer), workdir=Path(folder)
                ).reasons
        return self.registry.promote(reference, alias, gate_reasons=reasons, force=force, by=by)


def open_app(folder: Path | str = ".", **options: object) -> App:
    """
    The application over the project in *folder*; *options* override its settings.

    Raises:
        ConfigurationError: a setting is wrong; the sentence names it.
        StoreUnavailable: the store cannot be opened.
    """
    return App(load_project(folder, options=options))
