"""What a project has stored of a model goes to another place: ``limner export molecules --stage predict.MODEL``."""

from collections.abc import Iterator
from hashlib import sha256

from msgspec import Struct

from limner.app.app import App
from limner.errors import NotFound, UsageError
from limner.systems.ersilia.door.looking_up import shelf_of
from limner.systems.ersilia.library.index import Library
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.precalc.nouns import Counts, Facts, PublishRow
from limner.systems.ersilia.predictions.base import Shelf
from limner.systems.ersilia.predictions.connect import connect_own, predictions_url
from limner.systems.ersilia.predictions.publication import Publication
from limner.systems.ersilia.predictions.publisher import publish
from limner.systems.ersilia.predictions.sql import SqlPredictions

#: Predictions of one batch, and how many are in memory at a time.
_BATCH, _PAGE = 10_000, 500
_STAGE = "predict."


class StoredRows(Struct, frozen=True, kw_only=True):
    """The predictions of one version in the order of their keys; opens itself, in whichever process reads it."""

    table: str
    model: str
    version: str
    #: The first key of each batch.
    firsts: tuple[str, ...]

    def __call__(self) -> "StoredRows":
        """Open them."""
        return self

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self.firsts)

    def rows(self, number: int) -> Iterator[PublishRow]:
        """One batch; rows are numbered in the order of the keys."""
        table = connect_own(self.table)
        try:
            row, first = number * _BATCH, self.firsts[number]
            ends = row + _BATCH
            for page in table.pages(self.model, self.version, first=first, size=_PAGE):
                for prediction in page[: ends - row]:
                    row += 1
                    yield PublishRow(row=row, prediction=prediction)
                if row == ends:
                    return
        finally:
            table.close()


def export_predictions(app: App, *, stage: str, to: str) -> int:
    """
    Write the predictions that look-ups of a model are answered from to a folder, a bucket or a table; how many.

    What was interrupted goes on where it was when it is asked for again.

    Raises:
        UsageError: *stage* names no model, or the place cannot take them.
        NotFound: nothing is stored of the model.
    """
    model = stage.removeprefix(_STAGE)
    if not stage.startswith(_STAGE) or not model:
        raise UsageError(f"{stage} holds no predictions; name predict and a model, such as predict.eos3b5e.")
    url = predictions_url(app.project)
    table = connect_own(url, clock=app.clock)
    try:
        champion = app.registry.champion(model)
        shelf = shelf_of(table, model, champion=None if champion is None else champion.sha256)
        scheme = table.scheme()
        if shelf is None or scheme is None:
            raise NotFound(f"Nothing is stored of {model}; limner precalc {model} predicts and stores.")
        facts, rows = _job(table, url, shelf, scheme=scheme, to=to, started=app.clock.now())
        publish(Publication(facts=facts, batches=rows, table=url, places=(to,), own=False), clock=app.clock)
        # Asked for once more it is written once more: its files may have been moved away.
        table.cursor().forget(facts.job)
        return facts.counts.rows
    finally:
        table.close()


def _job(
    table: SqlPredictions, url: str, shelf: Shelf, *, scheme: KeyScheme, to: str, started: float
) -> tuple[Facts, StoredRows]:
    """What is told of the export, whose id says what is exported and as of when."""
    release = shelf.release
    firsts = table.firsts(release.model, release.version, size=_BATCH)
    rows = StoredRows(table=url, model=release.model, version=release.version, firsts=tuple(firsts))
    last = sum(1 for _ in rows.rows(len(firsts) - 1)) if firsts else 0
    total = max(0, len(firsts) - 1) * _BATCH + last
    stored = table.count(release.model, release.version)
    digest = sha256(f"{release.model} {release.version} {shelf.updated} {total} {to}".encode()).hexdigest()
    library = Library(
        name=f"predictions of {release.model} {release.version}",
        sha256=digest,
        rows=total,
        blank_lines=0,
        molecules=total,
        duplicate_rows=0,
        set_aside=0,
        scheme=scheme,
        keyed=True,
    )
    counts = Counts(
        rows=total,
        stored=stored,
        failed=total - stored,
        skipped=0,
        cancelled=0,
        duplicate_row=0,
        duplicate_key=0,
        blank_lines=0,
    )
    facts = Facts(
        job=f"export-{digest[:12]}",
        release=release,
        scheme=scheme,
        library=library,
        started=started,
        workers=1,
        shards=[],
        counts=counts,
    )
    return facts, rows
