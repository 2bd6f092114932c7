"""All that is stored of a model, in the order of its keys, as a request for all of it is answered."""

from collections.abc import Iterator

from limner.errors import UsageError
from limner.systems.ersilia.nouns import Prediction
from limner.systems.ersilia.precalc.nouns import PublishRow
from limner.systems.ersilia.precalc.shards import BATCH
from limner.systems.ersilia.predictions.base import PredictionTable, Shelf
from limner.systems.ersilia.predictions.sql import SqlPredictions

#: Values of one page at most, as far as one row does not have more.
_VALUES = 1_000_000


def pages_of(table: PredictionTable, shelf: Shelf, *, most: int) -> Iterator[list[PublishRow]]:
    """
    The molecules that have values, at most *most* of them (all if 0), page by page.

    Raises:
        UsageError: the table can be asked for keys only.
    """
    if not isinstance(table, SqlPredictions):
        raise UsageError(f"The {table.describe()} can be asked for keys only; put the molecules into a file.")
    release = shelf.release
    size = max(1, min(BATCH, _VALUES // len(release.columns)))
    given = 0
    for page in table.pages(release.model, release.version, size=size):
        good = [one for one in page if one.values is not None]
        if most:
            good = good[: most - given]
        yield _rows(good, after=given)
        given += len(good)
        if most and given == most:
            return


def _rows(predictions: list[Prediction], *, after: int) -> list[PublishRow]:
    return [PublishRow(row=after + at, prediction=one) for at, one in enumerate(predictions, start=1)]
