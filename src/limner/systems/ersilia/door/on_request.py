"""Predicts molecules that somebody asks for: one job of the engine, whose predictions go into the table as it ends."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import structlog
from msgspec import Struct, structs

from limner.app.hosting import Host
from limner.app.preparing import lists
from limner.app.submitting import Manifest, Submission, lines_of
from limner.domain.jobs import Job
from limner.domain.nodes import Node
from limner.domain.records import RecordIn
from limner.engine.views import View
from limner.errors import UsageError
from limner.store.store import Transaction
from limner.systems.ersilia.door.tables import Tables
from limner.systems.ersilia.library.index import LibraryIndex, write_index
from limner.systems.ersilia.nouns import KeyScheme, Prediction, Release
from limner.systems.ersilia.pipeline import NAME, PREDICT
from limner.systems.ersilia.precalc.batches import JobBatches
from limner.systems.ersilia.precalc.fates import Fates, write_fates
from limner.systems.ersilia.precalc.nouns import PublishRow
from limner.systems.ersilia.precalc.shards import BATCH
from limner.systems.ersilia.predictions.base import PredictionTable
from limner.systems.ersilia.predictions.settled import settled

#: Under this name a job's detail holds its :class:`Wish`.
DETAIL = "on_request"
_log = structlog.get_logger(__name__)


class Wish(Struct, frozen=True, kw_only=True):
    """What a job was made for."""

    model: str
    release: Release
    scheme: KeyScheme
    #: SHA-256 of the index of its molecules among the artifacts.
    index: str
    #: The request whose file it answers; empty where there is none.
    request: str = ""
    #: Its predictions are in the table.
    published: bool = False


def predict_file(host: Host, tables: Tables, *, model: str, file: Path, request: str = "") -> Job:
    """
    Make the job that predicts the molecules of *file*, which is in any shape that a library may have.

    Raises:
        NotFound: there is no such model.
        ModelRefused: its package does not reproduce its golden example.
        UsageError: the file holds no molecule, or is no library.
    """
    release = served_release(host, model)
    with TemporaryDirectory(prefix="limner-asked-") as folder:
        index_file = Path(folder) / "index.parquet"
        library = write_index(file, to=index_file, scheme=tables.of(host).scheme())
        if not library.molecules:
            raise UsageError(f"The file holds no molecule in its {library.rows:,} rows.")
        with closing(LibraryIndex(index_file)) as index:
            lines = Path(folder) / "lines"
            with lines.open("wb") as out:
                out.writelines(lines_of(_records(index)))
        app = host.app
        wish = Wish(
            model=model,
            release=release,
            scheme=library.scheme,
            index=app.artifacts.put_file(index_file),
            request=request,
        )
        manifest = Manifest(sha256=app.artifacts.put_file(lines))
    detail = {DETAIL: msgspec.to_builtins(wish)}
    return host.submit(Submission(pipeline=NAME, manifest=manifest, choices={PREDICT: [model]}, detail=detail))


def predict_smiles(host: Host, tables: Tables, *, model: str, smiles: Sequence[str]) -> Job:
    """The same for molecules that are named one by one."""
    with TemporaryDirectory(prefix="limner-asked-") as folder:
        file = Path(folder) / "asked.csv"
        file.write_text("".join(f"{text}\n" for text in ["smiles", *smiles]), encoding="utf-8")
        return predict_file(host, tables, model=model, file=file)


def wish_of(job: Job) -> Wish | None:
    """What a job was made for; None where that was something else."""
    found = job.detail.get(DETAIL)
    return None if found is None else msgspec.convert(found, Wish)


def publish(host: Host, table: PredictionTable, job: Job, *, also: Callable[[Sequence[PublishRow]], None]) -> None:
    """
    Put what an ended job found into the table, and hand it to *also*, batch by batch; to do it again does no harm.

    A version that a library's precalculation fills, or has filled, stays as complete as it is.
    """
    wish = wish_of(job)
    assert wish is not None, "only jobs that were made here are published here"
    with host.store.reading() as tx:
        view = host.engine.view(tx, NAME, lists({PREDICT: [wish.model]}))
        release = _made_by(tx, host, view, wish)
    if release.version not in {shelf.release.version for shelf in table.shelves(release.model)}:
        table.begin(release, scheme=wish.scheme)
    for batch in _batches(host, job, wish, view):
        table.write(release, [row.prediction for row in batch if _storable(row.prediction, wish.scheme)])
        also(batch)


def note_published(host: Host, job: Job) -> None:
    """Write down that what a job found is published."""
    wish = wish_of(job)
    with host.lock, host.store.transaction() as tx:
        now = tx.jobs.get(job.id)
        done = None if wish is None else msgspec.to_builtins(structs.replace(wish, published=True))
        tx.jobs.replace(structs.replace(now, detail={**now.detail, DETAIL: done}))
    _log.info("asked_for_published", job=job.id)


def _storable(prediction: Prediction, scheme: KeyScheme) -> bool:
    """Whether a table holds it: values, or why the molecule behind a key has none; no faults of the file."""
    of_the_file = prediction.failed is not None and prediction.failed.code.value == "INPUT_INVALID"
    return scheme.fits(prediction.key) and not of_the_file


def _made_by(tx: Transaction, host: Host, view: View, wish: Wish) -> Release:
    """The release whose values the job has: another than was wished for where another became champion meanwhile."""
    key = _node(view).version
    made = None if key is None else tx.nodes.versions([key])[key].version
    if made is None or made.model is None:
        return wish.release
    same = made.model.sha256 == wish.release.package and dict(made.environment) == dict(wish.release.environment)
    return wish.release if same else served_release(host, wish.model)


def _node(view: View) -> Node:
    return next(node for node in view.nodes if node.stage.name == PREDICT)


def _batches(host: Host, job: Job, wish: Wish, view: View) -> Iterator[list[PublishRow]]:
    app, node = host.app, _node(view)
    with (
        TemporaryDirectory(prefix="limner-fates-") as folder,
        closing(LibraryIndex(app.artifacts.path(wish.index))) as index,
    ):
        file = Path(folder) / "fates.parquet"
        sizes = [min(BATCH, len(index) - start) for start in range(0, len(index), BATCH)]
        write_fates(Fates(host.store, view, scheme=wish.scheme).over(index), sizes=sizes, to=file)
        fates = app.artifacts.put_file(file)
    found = JobBatches(host.store, app.artifacts, job=job.id, fates=fates, node=node.pk, version=node.version or 0)
    for number in range(len(found)):
        yield [
            structs.replace(row, prediction=settled(row.prediction, scheme=wish.scheme)) for row in found.rows(number)
        ]


def served_release(host: Host, model: str) -> Release:
    """
    What predicts now, in the environment that this server's workers have; served from now on, if it was not.

    Raises:
        NotFound: there is no such model.
        ModelRefused: its package does not reproduce its golden example.
        UsageError: it cannot run here.
    """
    # Checks packages, for which it loads what reads tables: a server that only looks up does without.
    from limner.systems.ersilia.precalc.models import choose

    chosen = choose(host.app, model)
    way = (PREDICT, model)
    host.pipeline(NAME)
    found = host.known[NAME].versions.get(way)
    if found is None or found.model is None or found.model.sha256 != chosen.version.sha256:
        host.refresh()
        found = host.known[NAME].versions.get(way)
    if found is None:
        raise UsageError(f"{model} cannot run here: {host.known[NAME].problems.get(way, 'no worker serves it')}")
    return chosen.release(found.environment)


def _records(index: LibraryIndex) -> Iterator[RecordIn]:
    for row in index.rows():
        if row.reason is None:
            yield RecordIn(collection=NAME, id=row.record, fields={"smiles": row.smiles})
