"""What the pages show: runs, one job with its shards and rows set aside, and one molecule with its predictions."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice

from msgspec import Struct

from limner.api.auth import Caller
from limner.app.hosting import Host
from limner.app.preparing import lists
from limner.domain.jobs import Job
from limner.domain.values import Value
from limner.errors import LimnerError, NotFound
from limner.store.store import Transaction
from limner.systems.ersilia.columns import Cell
from limner.systems.ersilia.door.asking import identified
from limner.systems.ersilia.door.forms import cell
from limner.systems.ersilia.door.looking_up import look_up
from limner.systems.ersilia.door.runs import RUNNING, Run, Runs
from limner.systems.ersilia.door.tables import Tables
from limner.systems.ersilia.nouns import KeyScheme, Prediction
from limner.systems.ersilia.pipeline import NAME, PREDICT
from limner.systems.ersilia.precalc.fates import FateRow, FatesFile, State
from limner.systems.ersilia.precalc.jobs import job_detail
from limner.systems.ersilia.precalc.nouns import PrecalcJob
from limner.systems.ersilia.predictions.base import Shelf

#: Of each list so many at most.
_RUNS, _SHARDS, _ASIDE, _MOLECULES, _COLUMNS = 100, 500, 200, 25, 32


class Line(Struct, frozen=True, kw_only=True):
    """One run as the list shows it."""

    model: str
    library: str
    sample: int | None
    state: str
    step: str | None
    records: int
    ended: int
    stored: int | str
    failed: int | str
    began: str
    moment: float
    job: str | None
    error: str | None = None


class Shown(Struct, frozen=True, kw_only=True):
    """What one version of a model says of a molecule."""

    model: str
    version: str
    complete: bool
    cells: list[tuple[str, str]]
    #: Columns that are not shown.
    more: int = 0
    failure: str | None = None


def runs_shown(host: Host, runs: Runs) -> list[Line]:
    """What this server was asked for, and what was run from a command line; the newest first."""
    asked = runs.listing(host)[:_RUNS]
    mine = {run.job for run in asked}
    with host.store.reading() as tx:
        jobs = tx.progress.jobs(limit=_RUNS, pipeline=NAME)
        others = [(job, tx.ledger.counts(job.id)) for job in jobs if job.id not in mine]
    lines = [_of_run(host, run) for run in asked]
    for job, counts in others:
        about = job_detail(job)
        # What a run of ours did before it predicted is no run of its own.
        if about is not None and about.step == PREDICT:
            lines.append(_of_job(job, about, records=counts.records, ended=counts.records - counts.open))
    return sorted(lines, key=lambda line: -line.moment)[:_RUNS]


def job_shown(host: Host, identity: str) -> dict[str, Value]:
    """
    One job with its shards and the rows that were set aside.

    Raises:
        NotFound: there is none, or it is no precalculation.
    """
    with host.store.reading() as tx:
        job = tx.jobs.get(identity)
        about = job_detail(job)
        if about is None:
            raise NotFound(f"Job {identity} put no library through a model.")
        shards = [] if about.release is None else _shards(tx, host, job, model=about.release.model)
    aside, molecules = ([], []) if about.fates is None else _rows(host, about.fates)
    counts = about.counts
    return {
        "job": job,
        "about": about,
        "counts": []
        if counts is None
        else [
            counts.rows,
            counts.stored,
            counts.failed,
            counts.skipped,
            counts.cancelled,
            counts.duplicate_row,
            counts.duplicate_key,
        ],
        "shards": shards,
        "aside": aside[:_ASIDE],
        "more_aside": len(aside) > _ASIDE,
        "molecules": molecules,
        "refresh": not job.state.ended,
    }


def _shards(tx: Transaction, host: Host, job: Job, *, model: str) -> list[dict[str, Value]]:
    """The tasks in which the model's molecules went out."""
    view = host.engine.view(tx, NAME, lists({PREDICT: [model]}))
    node = next(node for node in view.nodes if node.stage.name == PREDICT)
    return [
        {
            "size": share.size,
            "state": share.state,
            "done": share.done,
            "failed": share.failed,
            "worker": share.worker,
            "seconds": "" if share.started is None or share.ended is None else f"{share.ended - share.started:.2f}",
        }
        for share in tx.progress.shares(job.id, node=node.pk, limit=_SHARDS)
    ]


def molecule_shown(caller: Caller, tables: Tables, asked: str) -> dict[str, Value]:
    """A molecule, by its key or by SMILES, with what every model predicts of it."""
    host, table = caller.host, tables.of(caller.host)
    scheme = table.scheme() or KeyScheme.INCHIKEY
    shown: dict[str, Value] = {"q": asked, "key": asked, "smiles": None, "blocks": [], "missing": []}
    if not scheme.fits(asked):
        try:
            (molecule,) = identified(caller, [asked], scheme=scheme)
        except LimnerError as error:
            return {**shown, "key": None, "problem": str(error)}
        shown |= {"key": molecule.key, "smiles": molecule.smiles, "problem": molecule.message or None}
        if molecule.code:
            return {**shown, "key": None, "smiles": None}
    for model in tables.models(host):
        shelf = tables.shelf(host, model)
        (found,) = look_up(table, shelf, [shown["key"]])
        if found is None or shelf is None:
            shown["missing"].append(model)
            continue
        shown["smiles"] = shown["smiles"] or found.smiles
        shown["blocks"].append(_block(shelf, found))
    return shown


def _block(shelf: Shelf, found: Prediction) -> Shown:
    columns = shelf.release.columns
    values: tuple[Cell, ...] = found.values or ()
    shown = [(column.name, cell(value) or "–") for column, value in zip(columns, values, strict=False)]
    return Shown(
        model=shelf.release.model,
        version=shelf.release.version,
        complete=shelf.complete,
        cells=shown[:_COLUMNS],
        more=max(0, len(shown) - _COLUMNS),
        failure=None if found.failed is None else found.failed.message,
    )


def _of_run(host: Host, run: Run) -> Line:
    about = None
    if run.job is not None:
        with host.store.reading() as tx:
            about = job_detail(tx.jobs.get(run.job)) if tx.jobs.exists(run.job) else None
    counts = None if run.outcome is None else run.outcome.counts
    stopped = None if run.outcome is None else run.outcome.stopped
    return Line(
        model=run.ask.model,
        library=run.ask.library.rpartition("/")[2],
        sample=run.ask.sample,
        state=run.state,
        step=about.step if about is not None and run.state == RUNNING else None,
        records=run.records,
        ended=run.ended,
        stored="" if counts is None else counts.stored,
        failed="" if counts is None else counts.failed,
        began=_moment(run.started),
        moment=run.started,
        job=run.job,
        error=run.error or stopped,
    )


def _of_job(job: Job, about: PrecalcJob, *, records: int, ended: int) -> Line:
    counts = about.counts
    return Line(
        model=about.release.model if about.release else "",
        library=about.library.name,
        sample=about.library.sample,
        state=job.state.value,
        step=None if job.state.ended else about.step,
        records=records,
        ended=ended,
        stored="" if counts is None else counts.stored,
        failed="" if counts is None else counts.failed,
        began=_moment(job.created),
        moment=job.created,
        job=job.id,
    )


def _rows(host: Host, fates: str) -> tuple[list[FateRow], list[FateRow]]:
    """Rows without prediction, and the first molecules with one; repeats are neither."""
    with closing(FatesFile(host.app.artifacts.path(fates))) as file:
        aside = list(islice((row for row in file.rows() if row.state is State.FAILED), _ASIDE + 1))
        stored: Iterator[FateRow] = (row for row in file.rows() if row.state is State.STORED)
        return aside, list(islice(stored, _MOLECULES))


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
