"""What a precalculation would do, why, and about how long it would take; nothing runs and nothing is stored."""

from collections import Counter
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct, field

from limner.app.app import App
from limner.app.preparing import lists
from limner.domain.pipelines import Pipeline
from limner.engine.estimate import estimate
from limner.systems.ersilia.library.index import Library, LibraryIndex, write_index
from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.pipeline import IDENTIFY, NAME, PREDICT
from limner.systems.ersilia.precalc.finding import library_file
from limner.systems.ersilia.precalc.models import Found
from limner.systems.ersilia.precalc.nouns import Ask
from limner.systems.ersilia.precalc.shards import shards_of


class PrecalcPlan(Struct, frozen=True, kw_only=True):
    """What would be done."""

    model: str
    library: Library
    #: Molecules to identify, and to predict.
    identify: int
    predict: int
    #: Of those to predict: ``new``, ``version`` (of package or environment), ``input``, ``retry``.
    reasons: Mapping[str, int] = field(default_factory=dict)
    shards: int
    workers_used: int
    #: As the package's own figures say; None where it has none.
    seconds: float | None


def plan_of(app: App, pipeline: Pipeline, ask: Ask, chosen: Found) -> PrecalcPlan:
    """
    What *ask* would do with the package *chosen*.

    Raises:
        NotFound: there is no such library.
    """
    with (
        library_file(ask.library, folder=app.project.folder, sample=ask.sample) as found,
        TemporaryDirectory(prefix="limner-index-") as folder,
    ):
        path = Path(folder) / "index.parquet"
        library = write_index(found.path, to=path, scheme=ask.keys, sample=found.sample)
        index = LibraryIndex(path)
        known = _known(app, index)
        index.close()
    identify, reasons = _stale(app, pipeline, chosen, known)
    new = library.molecules - len(known)
    reasons["new"] += new
    sizes = shards_of(reasons.total(), workers=ask.workers)
    return PrecalcPlan(
        model=ask.model,
        library=library,
        identify=identify + new,
        predict=reasons.total(),
        reasons={reason: count for reason, count in sorted(reasons.items()) if count},
        shards=len(sizes),
        workers_used=min(ask.workers, len(sizes)),
        seconds=_seconds(chosen.package, sizes, workers=min(ask.workers, len(sizes))),
    )


def _known(app: App, index: LibraryIndex) -> list[int]:
    """The records of a library that are there already."""
    found: list[int] = []
    for number in range(index.batches):
        ids = [row.record for row in index.batch(number) if row.reason is None]
        with app.store.reading() as tx:
            collection = tx.records.find_collection(NAME)
            found += [] if collection is None else tx.records.keys(collection, ids).values()
    return found


def _stale(app: App, pipeline: Pipeline, chosen: Found, known: list[int]) -> tuple[int, Counter[str]]:
    """Of records that are there: how many are to be identified, and how many to be predicted, by reason."""
    if not known:
        return 0, Counter()
    model = chosen.package.id
    if not chosen.registered:
        # A package that was not seen yet becomes the champion first, and answers for every molecule anew.
        return 0, Counter({"new" if app.registry.champion(model) is None else "version": len(known)})
    engine = app.engine_of({**app.declared.own, NAME: pipeline})
    choices = {PREDICT: [model]}
    now = app.now(engine, NAME, choices)
    with app.store.reading() as tx:
        view = engine.view(tx, NAME, lists(choices))
        found = estimate(
            tx, view, now.versions, waiting=now.waiting, full=False, only=sorted(known), kept=lambda ref: True
        )
    return found.stages[IDENTIFY].stale, Counter(found.stages[PREDICT].reasons)


def _seconds(package: Package, sizes: list[int], *, workers: int) -> float | None:
    """How long the model should take, by its own figures: shared by the workers, a start for each call."""
    figures = package.performance
    if not sizes or not figures.start_up:
        return None if sizes else 0.0
    calls = sum(ceil(size / figures.batch) for size in sizes)
    return round(figures.estimate(ceil(sum(sizes) / workers), calls=ceil(calls / workers)).total_seconds(), 1)
