"""The engine's jobs of which a precalculation is made: one identifies, one tries a few, one predicts all."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct, structs

from limner.app.app import App
from limner.app.preparing import Request, lists
from limner.app.running import Progress, Summary
from limner.domain.assessment import Kind
from limner.domain.jobs import Job
from limner.domain.pipelines import Pipeline
from limner.domain.records import RecordIn, SetAside
from limner.domain.values import Value
from limner.domain.versions import Version
from limner.engine.assessing import assess_records
from limner.engine.engine import Engine
from limner.engine.passes import activate
from limner.engine.views import View
from limner.store.store import Transaction
from limner.systems.ersilia.library.index import BATCH, LibraryIndex
from limner.systems.ersilia.pipeline import IDENTIFY, NAME, PREDICT
from limner.systems.ersilia.precalc.nouns import DETAIL, PrecalcJob
from limner.systems.ersilia.precalc.shards import shards_of, spans_of
from limner.systems.ersilia.reasons import Reason

#: Molecules that are tried before all others, and the share of them that may fail for one reason.
CANARY = 100
TOO_MANY = 0.2
#: What each step is called while it goes on.
_DOING = {IDENTIFY: "identifying", "canary": "trying a few", PREDICT: "predicting"}
#: Jobs that are looked through for one to go on with.
_LOOKED_AT = 200


class Survey(Struct, frozen=True, kw_only=True):
    """The records of a library, by their keys: what has a current answer, and what is to be predicted."""

    current: "array[int]"
    missing: "array[int]"

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.current) + len(self.missing)

    def tried(self) -> "Survey":
        """The same once those that a canary tries have been tried."""
        return Survey(current=self.current + self.missing[:CANARY], missing=self.missing[CANARY:])


class Jobs:
    """Runs the jobs of one precalculation on one engine."""

    def __init__(
        self,
        app: App,
        pipeline: Pipeline,
        *,
        model: str,
        workers: int,
        progress: Callable[[Progress], None],
    ) -> None:
        """*workers* is the number of processes of inference at most, for each stage."""
        self._app = app
        self._model = model
        self._workers = workers
        self._progress = progress
        # A task for each worker, and some at hand for whoever is done first.
        pipelines = {**app.declared.own, NAME: pipeline}
        self.engine: Engine = app.engine_of(pipelines, in_flight=workers + 2)
        self.versions: Mapping[int, Version] = app.now(self.engine, NAME, self._choices(PREDICT)).versions
        with app.store.transaction() as tx:
            activate(tx, self.view(tx), self.versions, now=app.clock.now())

    def view(self, tx: Transaction) -> View:
        """The pipeline with the one model."""
        return self.engine.view(tx, NAME, lists(self._choices(PREDICT)))

    @property
    def version(self) -> Version:
        """What the model is now, as a worker of this machine sees it."""
        with self._app.store.transaction() as tx:
            node = next(node for node in self.view(tx).nodes if node.stage.name == PREDICT)
        return self.versions[node.pk]

    def identify(self, index: LibraryIndex, about: PrecalcJob) -> Summary:
        """Take the library in, and identify what is new; where a job of this library was stopped, go on with it."""
        before = self.begun(about)
        pages = pages_of(index, after=0 if before is None else before.taken)
        return self._run(Request(pipeline=NAME, pages=pages, choices=self._choices(IDENTIFY)), about, on=before)

    def survey(self, index: LibraryIndex) -> Survey:
        """What of the library is to be predicted."""
        current, missing = array("q"), array("q")
        for number in range(index.batches):
            ids = [row.record for row in index.batch(number) if row.reason is None]
            with self._app.store.reading() as tx:
                view = self.view(tx)
                keys = tx.records.keys(view.root, ids)
                found = assess_records(tx, view, view.root, sorted(keys.values()))
                node = next(node for node in view.nodes if node.stage.name == PREDICT)
                verdicts = dict(zip(found.keys, found.columns[node.pk], strict=True))
            # In the order of the library, so that its beginning is there first.
            for key in (keys[identity] for identity in ids if identity in keys):
                verdict = verdicts.get(key)
                (missing if verdict is not None and verdict.kind is Kind.READY else current).append(key)
        return Survey(current=current, missing=missing)

    def canary(self, survey: Survey, about: PrecalcJob) -> tuple[Summary, str | None]:
        """Predict a few molecules; how that went, and why all others are not to be tried."""
        request = Request(pipeline=NAME, parts=[survey.missing[:CANARY].tolist()], choices=self._choices(PREDICT))
        summary = self._run(request, about)
        return summary, self.verdict(summary.job, records=summary.records)

    def predict(self, survey: Survey, about: PrecalcJob) -> Summary:
        """Predict what is missing, in even shards, in one job over all records of the library."""
        before = self.begun(about)
        held = self._held(before)
        if before is not None and before.sealed and len(held) < len(survey):
            # Somebody sealed it while nobody worked on it: it would end without the others.
            before, held = None, set()
        current = [key for key in survey.current if key not in held]
        missing = [key for key in survey.missing if key not in held]
        sizes = shards_of(len(missing), workers=self._workers)
        parts: list[Sequence[int]] = [current[at : at + BATCH] for at in range(0, len(current), BATCH)]
        parts += [missing[start:end] for start, end in spans_of(sizes)]
        if before is None:
            about = structs.replace(about, shards=sizes, workers_used=min(self._workers, len(sizes)))
        return self._run(Request(pipeline=NAME, parts=parts, choices=self._choices(PREDICT)), about, on=before)

    def verdict(self, job: str, *, records: int, canary: bool = True) -> str | None:
        """Why what a job found speaks against the model itself, if it does; of a *canary* less is suffered."""
        reasons = self._reasons(job)
        if reasons[Reason.BAD_COLUMNS.value]:
            return f"{self._model} answered with other columns than its run_columns.csv lists ({Reason.BAD_COLUMNS})."
        if not canary:
            return None
        worst, count = next(iter(reasons.most_common(1)), ("", 0))
        if count > TOO_MANY * records:
            return f"{count} of the first {records} molecules failed with {worst}; --no-canary goes on all the same."
        return None

    def _reasons(self, job: str) -> Counter[str]:
        """How many records of a job failed in the model, by reason."""
        found: Counter[str] = Counter()
        with self._app.store.reading() as tx:
            view = self.view(tx)
            node = next(node for node in view.nodes if node.stage.name == PREDICT)
            assert node.version is not None
            for page in tx.ledger.pages(job):
                span = (min(page), max(page))
                for row in tx.results.failed(versions={node.pk: node.version}, span=span, limit=len(page) + CANARY):
                    if row[0] in page and row[4].code != "UPSTREAM_FAILED":
                        found[row[4].reason or row[4].code.value] += 1
        return found

    def _choices(self, last: str) -> dict[str, Sequence[str]]:
        """What a job does up to a stage."""
        return {PREDICT: [self._model] if last == PREDICT else []}

    def _run(self, request: Request, about: PrecalcJob, *, on: Job | None = None) -> Summary:
        request = structs.replace(request, detail={DETAIL: msgspec.to_builtins(about)} if on is None else {})
        runner = self._app.runner(self.engine, parallel=self._workers)

        def tell(progress: Progress) -> None:
            self._progress(structs.replace(progress, doing=_DOING[about.step]))

        return runner.run(request, self.versions, progress=tell, on=on)

    def begun(self, about: PrecalcJob) -> Job | None:
        """The newest job that was asked for the same, and did not come to its end."""
        with self._app.store.reading() as tx:
            for job in tx.jobs.listing(limit=_LOOKED_AT):
                told = job_detail(job)
                if told is not None and (told.step, told.asked) == (about.step, about.asked):
                    unfinished = not told.published and job.state.value not in ("failed", "cancelled", "expired")
                    return job if unfinished and (told.step == PREDICT or not job.state.ended) else None
        return None

    def _held(self, job: Job | None) -> set[int]:
        """The records that a job holds already."""
        if job is None:
            return set()
        with self._app.store.reading() as tx:
            return {key for page in tx.ledger.pages(job.id) for key in page}


def job_detail(job: Job) -> PrecalcJob | None:
    """What a job is to a precalculation; None where it belongs to none."""
    found: Value = job.detail.get(DETAIL)
    return None if found is None else msgspec.convert(found, PrecalcJob)


def note(app: App, job: str, about: PrecalcJob) -> None:
    """Write down what a job is to a precalculation by now."""
    with app.store.transaction() as tx:
        now = tx.jobs.get(job)
        tx.jobs.replace(structs.replace(now, detail={**now.detail, DETAIL: msgspec.to_builtins(about)}))


def pages_of(index: LibraryIndex, *, after: int) -> Iterator[list[RecordIn | SetAside]]:
    """What of a library is taken in, a batch a page, without what was taken in already; repeats are left out."""
    passed = 0
    for number in range(index.batches):
        rows = [row for row in index.batch(number) if row.reason is not Reason.DUPLICATE_ROW]
        kept = rows[max(0, after - passed) :]
        passed += len(rows)
        page: list[RecordIn | SetAside] = []
        for row in kept:
            if row.reason is not None:
                page.append(SetAside(row=row.row, code=row.reason.code, reason=row.message, excerpt=row.smiles))
                continue
            fields: dict[str, Value] = {"smiles": row.smiles}
            if row.name is not None:
                fields["name"] = row.name
            page.append(RecordIn(collection=NAME, id=row.record, fields=fields))
        if page:
            yield page
