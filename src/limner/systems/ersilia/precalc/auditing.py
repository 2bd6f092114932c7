"""Accounts for every row of a library: what its jobs say, and what really lies in the places that they published to."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec import structs

from limner.app.app import App
from limner.domain.jobs import Job
from limner.domain.systems import LibraryReport
from limner.systems.ersilia.library.index import digest_of
from limner.systems.ersilia.precalc.fates import FateRow, FatesFile, State
from limner.systems.ersilia.precalc.jobs import job_detail
from limner.systems.ersilia.precalc.nouns import Counts, PrecalcJob
from limner.systems.ersilia.predictions.connect import connect_files, connect_own, predictions_url
from limner.systems.ersilia.predictions.dataset import Dataset
from limner.systems.ersilia.predictions.files import Files

#: Jobs that are looked through.
_LOOKED_AT = 1_000
#: Keys that are looked up together.
_KEYS = 10_000


def audit_library(app: App, library: Path) -> list[LibraryReport]:
    """A report of the newest job of each model and version that went over *library* as it is now."""
    sha256 = digest_of(library)
    with app.store.reading() as tx:
        jobs = tx.jobs.listing(limit=_LOOKED_AT)
    newest: dict[tuple[str, str, int | None], tuple[Job, PrecalcJob]] = {}
    for job in jobs:
        about = job_detail(job)
        if about is None or about.fates is None or about.release is None or about.library.sha256 != sha256:
            continue
        newest.setdefault((about.release.model, about.release.version, about.library.sample), (job, about))
    return [_report(app, job, about) for job, about in newest.values()]


def _report(app: App, job: Job, about: PrecalcJob) -> LibraryReport:
    assert about.release is not None
    assert about.counts is not None
    rows = list(FatesFile(app.artifacts.path(about.fates or "")).rows())
    problems = [*_of_rows(rows, about), *_of_counts(about.counts)]
    if about.published:
        # Each row was stored or failed at publishing; the fates are older than that.
        stored = {row.key for row in rows if row.state is State.STORED}
        late = len(stored) - about.counts.stored
        problems += _of_table(app, about, stored, late=late)
        for place in about.places:
            if place.startswith(("file:", "s3:")):
                problems += _of_files(connect_files(place), job.id, about, stored, late=late)
    else:
        problems.append("It was not published; the same command publishes it.")
    return LibraryReport(
        job=job.id,
        about=f"{about.release.model} {about.release.version}",
        counts={name: n for name, n in structs.asdict(about.counts).items() if isinstance(n, int)},
        nulls=about.nulls,
        problems=tuple(problems),
    )


def _of_rows(rows: list[FateRow], about: PrecalcJob) -> Iterator[str]:
    """Whether each row number is there once."""
    if [row.row for row in rows] != list(range(1, about.library.rows + 1)):
        yield f"{len(rows)} rows have a fate, and the library has {about.library.rows}."
    cancelled = Counter(row.state for row in rows)[State.CANCELLED]
    if cancelled:
        yield f"{cancelled} rows were cancelled; the same command predicts them."


def _of_counts(counts: Counts) -> Iterator[str]:
    if not counts.whole:
        yield f"Its counts do not add up to its {counts.rows} rows."


def _of_table(app: App, about: PrecalcJob, stored: set[str], *, late: int) -> Iterator[str]:
    """Whether the prediction table holds a value for each key that was stored."""
    assert about.release is not None
    table = connect_own(predictions_url(app.project))
    try:
        keys = sorted(stored)
        missing = late * -1
        for start in range(0, len(keys), _KEYS):
            chunk = keys[start : start + _KEYS]
            found = table.read(about.release.model, about.release.version, chunk)
            missing += sum(1 for key in chunk if key not in found or found[key].values is None)
    finally:
        table.close()
    if missing:
        yield f"The prediction table lacks {missing} of {len(stored)} keys."


def _of_files(files: Files, job: str, about: PrecalcJob, stored: set[str], *, late: int) -> Iterator[str]:
    """Whether the files of a place hold as many rows as were stored, and the lake every key."""
    assert about.release is not None
    folder = f"out/{about.release.model}"
    rows = 0
    for name in files.names(folder):
        if name.startswith(f"{job}_"):
            with files.reading(f"{folder}/{name}") as path, path.open(newline="", encoding="utf-8") as stream:
                rows += sum(1 for _ in csv.reader(stream)) - 1
    if rows != len(stored) - late:
        yield f"The CSV files in {files.url(folder)} hold {rows} rows, and {len(stored) - late} were stored."
    keys = set(Dataset(files, about.release).index().column("key").to_pylist())
    lacking = len(stored - keys) - late
    if lacking > 0:
        yield f"The Parquet files in {files.url('lake')} lack {lacking} of {len(stored)} keys."
