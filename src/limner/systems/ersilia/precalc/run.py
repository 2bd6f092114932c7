"""A whole library through one model: its index, three jobs of the engine, the fates of its rows, and publishing."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct, structs

from limner.app.app import App
from limner.app.running import Progress, Summary
from limner.domain.jobs import Counts as JobCounts
from limner.domain.jobs import Job
from limner.domain.pipelines import Pipeline
from limner.errors import UsageError
from limner.systems.ersilia.library.index import Library, LibraryIndex, write_index
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.stage import implementation_of
from limner.systems.ersilia.pipeline import IDENTIFY, NAME, PREDICT
from limner.systems.ersilia.precalc.batches import OpenJob
from limner.systems.ersilia.precalc.fates import Fates, Tally, write_fates
from limner.systems.ersilia.precalc.finding import library_file
from limner.systems.ersilia.precalc.jobs import CANARY, Jobs, job_detail, note
from limner.systems.ersilia.precalc.models import choose, package_named
from limner.systems.ersilia.precalc.nouns import Ask, Cost, Counts, Facts, Outcome, PrecalcJob
from limner.systems.ersilia.precalc.planning import PrecalcPlan, plan_of
from limner.systems.ersilia.precalc.shards import shards_of
from limner.systems.ersilia.predictions.connect import connect_own, predictions_url
from limner.systems.ersilia.predictions.crew import writers_for
from limner.systems.ersilia.predictions.publication import Publication
from limner.systems.ersilia.predictions.publisher import publish

#: What is being done once all is predicted.
PUBLISHING = "publishing"


class Ended(Struct, frozen=True, kw_only=True):
    """A job that predicted, with what became of all rows of its library."""

    job: Job
    about: PrecalcJob
    #: Opens what is to be published, in any process.
    batches: OpenJob
    by_row: Mapping[int, str]


def _silent(_: Progress) -> None:
    return


class Precalc:
    """Predicts and publishes, as one ask says; the same ask after a stop goes on where it was left."""

    def __init__(self, app: App, *, progress: Callable[[Progress], None] = _silent) -> None:
        self._app = app
        self._progress = progress

    def run(self, ask: Ask) -> Outcome:
        """
        Do what is asked, and say how it ended.

        Raises:
            UsageError: the library, the model or a place cannot be taken; nothing was predicted.
            Interrupted: the user stopped it; the same call goes on with it.
        """
        started = self._app.clock.now()
        chosen = choose(self._app, ask.model, unchecked=ask.unchecked)
        with self._indexed(ask) as (library, index, sha256):
            if not library.rows:
                raise UsageError(f"The library {ask.library} holds no rows.")
            if ask.only != PREDICT:
                self._refuse_other_keys(library.scheme)
            jobs = Jobs(
                self._app,
                self.pipeline(ask, chosen.package),
                model=ask.model,
                workers=ask.workers,
                progress=self._progress,
            )
            version = jobs.version
            about = PrecalcJob(
                step=PREDICT,
                asked="",
                library=library,
                index=sha256,
                scheme=library.scheme,
                release=chosen.release(version.environment),
                code=version.code,
                workers=ask.workers,
            )
            about = structs.replace(about, asked=_digest(ask, about, version=version.digest))
            return self._run(ask, jobs, index, about, started=started)

    def plan(self, ask: Ask) -> PrecalcPlan:
        """What :meth:`run` would do; see :func:`~limner.systems.ersilia.precalc.planning.plan_of`."""
        found = package_named(self._app, ask.model)
        return plan_of(self._app, self.pipeline(ask, found.package), ask, found)

    def pipeline(self, ask: Ask, package: Package) -> Pipeline:
        """
        The project's pipeline of molecules.

        The model is done as *package* says, which need lie in no folder, and within the ask's own limit on one call.
        """
        found = self._app.pipeline(NAME)
        way = implementation_of(package)
        if ask.shard_timeout is not None:
            way = structs.replace(way, timeout=ask.shard_timeout)
        stages = tuple(
            structs.replace(stage, implementations={**stage.implementations, ask.model: way})
            if stage.name == PREDICT
            else stage
            for stage in found.stages
        )
        return structs.replace(found, stages=stages)

    def _run(self, ask: Ask, jobs: Jobs, index: LibraryIndex, about: PrecalcJob, *, started: float) -> Outcome:
        identified = self._identify(jobs, index, about)
        survey = jobs.survey(index)
        inferred = 0
        if ask.canary and len(survey.missing) > CANARY and not jobs.begun(about):
            summary, stopped = jobs.canary(survey, structs.replace(about, step="canary"))
            if stopped is not None:
                return self._stopped(ask, summary, about, reason=stopped, started=started)
            inferred += summary.inferred
            survey = survey.tried()
        summary = jobs.predict(survey, about) if len(survey) else identified
        ended = self._ended(jobs, index, summary, about)
        stopped = jobs.verdict(summary.job, records=summary.records, canary=False)
        inferred += summary.inferred
        outcome = self._outcome(ask, ended.job, ended.about, inferred=inferred, started=started)
        outcome = structs.replace(outcome, by_row=ended.by_row)
        if stopped is not None:
            return structs.replace(outcome, state="stopped", stopped=stopped)
        return outcome if ask.only == PREDICT else self._published(ask, ended, outcome)

    def _refuse_other_keys(self, scheme: KeyScheme) -> None:
        """Refuse keys of another scheme than those of the prediction table, before any work."""
        table = connect_own(predictions_url(self._app.project))
        try:
            known = table.scheme()
        finally:
            table.close()
        if known not in (None, scheme):
            raise UsageError(
                f"The prediction table holds {known} keys, and one table holds one scheme: leave --keys {scheme} out, "
                "or use another project for it."
            )

    def _identify(self, jobs: Jobs, index: LibraryIndex, about: PrecalcJob) -> Summary:
        """Take the library in; what it was asked for depends on the library alone."""
        library = about.library
        asked = hashlib.sha256(f"{library.sha256} {library.sample} {library.scheme}".encode()).hexdigest()
        return jobs.identify(index, structs.replace(about, step=IDENTIFY, asked=asked, release=None))

    def _ended(self, jobs: Jobs, index: LibraryIndex, summary: Summary, about: PrecalcJob) -> Ended:
        """Look through the library once more, and write down what became of every row."""
        tally = Tally()
        with self._app.store.transaction() as tx:
            view = jobs.view(tx)
            job = tx.jobs.get(summary.job)
            node = next(node for node in view.nodes if node.stage.name == PREDICT)
            cost = Cost(predicted=job.inferred, seconds=round(tx.tasks.seconds(job=job.id, nodes=[node.pk]), 3))
        with TemporaryDirectory(prefix="limner-fates-") as folder:
            path = Path(folder) / "fates.parquet"
            rows = tally.counting(Fates(self._app.store, view, scheme=about.scheme).over(index))
            write_fates(rows, sizes=shards_of(len(index), workers=about.workers), to=path)
            fates = self._app.artifacts.put_file(path)
        counts = tally.counts(blank_lines=about.library.blank_lines)
        about = structs.replace(job_detail(job) or about, fates=fates, counts=counts, release=about.release, cost=cost)
        note(self._app, job.id, about)
        batches = OpenJob(project=self._app.project, job=job.id, fates=fates, node=node.pk, version=node.version or 0)
        return Ended(job=job, about=about, batches=batches, by_row=tally.by_row)

    def _published(self, ask: Ask, ended: Ended, outcome: Outcome) -> Outcome:
        """Hand everything on to where it goes, and write down that it is there."""
        about = ended.about
        assert about.release is not None
        assert about.counts is not None
        facts = Facts(
            job=ended.job.id,
            release=about.release,
            scheme=about.scheme,
            library=about.library,
            started=ended.job.created,
            workers=ask.workers,
            shards=about.shards,
            counts=about.counts,
            code=about.code,
            cost=about.cost,
            strict=ask.strict,
        )
        publication = Publication(
            facts=facts,
            batches=ended.batches,
            table=predictions_url(self._app.project),
            places=ask.to or (str(self._app.project.folder),),
        )
        writers = writers_for(publication, workers=ask.workers)
        told = self._telling(ended.job.id, rows=about.counts.rows)
        published = publish(publication, workers=writers, clock=self._app.clock, progress=told)
        late = about.counts.stored - published.stored
        counts = structs.replace(
            about.counts,
            stored=published.stored,
            failed=about.counts.failed + late,
            reasons={**about.counts.reasons, **published.reasons},
        )
        seconds = round(self._app.clock.now() - ended.job.created, 3)
        note(
            self._app,
            ended.job.id,
            structs.replace(
                about,
                counts=counts,
                published=True,
                places=list(published.places),
                nulls=dict(published.nulls),
                seconds=seconds,
            ),
        )
        return structs.replace(
            outcome,
            counts=counts,
            state="done_with_failures" if counts.failed or counts.cancelled else "done",
            published=[*published.places, *published.files],
            nulls=dict(published.nulls),
        )

    def _telling(self, job: str, *, rows: int) -> Callable[[int, int], None]:
        """Tells how many of a job's *rows* are published, as well as batches say it."""

        def tell(done: int, total: int) -> None:
            ended = rows * done // max(1, total)
            counts = JobCounts(records=rows, open=rows - ended, done=ended)
            self._progress(Progress(job=job, counts=counts, inferred=0, preparing=False, doing=PUBLISHING))

        return tell

    def _stopped(self, ask: Ask, summary: Summary, about: PrecalcJob, *, reason: str, started: float) -> Outcome:
        """How it ended where a few molecules spoke against trying all."""
        counts = Counts(
            rows=summary.records,
            stored=0,
            failed=summary.failed,
            skipped=summary.skipped,
            cancelled=summary.done + summary.cancelled,
            duplicate_row=0,
            duplicate_key=0,
            blank_lines=0,
        )
        with self._app.store.reading() as tx:
            job = tx.jobs.get(summary.job)
        about = structs.replace(about, counts=counts)
        outcome = self._outcome(ask, job, about, inferred=summary.inferred, started=started)
        return structs.replace(outcome, state="stopped", stopped=reason)

    def _outcome(self, ask: Ask, job: Job, about: PrecalcJob, *, inferred: int, started: float) -> Outcome:
        assert about.release is not None
        assert about.counts is not None
        failed = bool(about.counts.failed or about.counts.cancelled)
        return Outcome(
            job=job.id,
            model=ask.model,
            version=about.release.version,
            environment=about.release.environment_digest,
            key_scheme=about.scheme,
            library=about.library,
            state="done_with_failures" if failed else "done",
            counts=about.counts,
            inferred=inferred,
            workers=ask.workers,
            workers_used=about.workers_used,
            shards=len(about.shards),
            seconds=round(self._app.clock.now() - started, 3),
            cost=about.cost,
        )

    @contextmanager
    def _indexed(self, ask: Ask) -> Iterator[tuple[Library, LibraryIndex, str]]:
        """The library that is asked for, with its index among the artifacts."""
        with (
            library_file(ask.library, folder=self._app.project.folder, sample=ask.sample) as found,
            TemporaryDirectory(prefix="limner-index-") as folder,
        ):
            path = Path(folder) / "index.parquet"
            library = write_index(found.path, to=path, scheme=ask.keys, sample=found.sample)
            sha256 = self._app.artifacts.put_file(path)
        index = LibraryIndex(self._app.artifacts.path(sha256))
        try:
            yield library, index, sha256
        finally:
            index.close()


def _digest(ask: Ask, about: PrecalcJob, *, version: str) -> str:
    """What makes two asks the same: what is predicted with what, and how it is published."""
    told = [about.index, about.scheme, version, ask.model, ask.to, ask.strict, ask.only]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()
