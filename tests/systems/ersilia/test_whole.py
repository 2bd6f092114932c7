"""All that is stored of a model, page by page."""

from collections.abc import Iterator

import pytest

from limner.systems.ersilia.door.whole import pages_of
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.precalc.shards import BATCH
from limner.systems.ersilia.predictions.base import PredictionTable
from limner.systems.ersilia.predictions.connect import connect_predictions
from tests.systems.ersilia.prediction_table_contract import failure_of, key_of, prediction_of, release_of

GOOD = range(BATCH + 10, BATCH + 13)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PredictionTable]:
    """A table whose first page holds nothing but failures."""
    made = connect_predictions(f"sqlite:///{tmp_path_factory.mktemp('table')}/predictions.db")
    made.begin(release_of(), scheme=KeyScheme.INCHIKEY)
    made.write(release_of(), [failure_of(number) for number in range(BATCH + 10)])
    made.write(release_of(), [prediction_of(number) for number in GOOD])
    yield made
    made.close()


@pytest.mark.parametrize(("most", "given"), [(0, 3), (2, 2), (3, 3), (9, 3)])
def test_a_page_without_values_is_not_the_end(table: PredictionTable, most: int, given: int) -> None:
    """Molecules behind a page of failures are found, as many as are asked for, in the order of their keys."""
    (shelf,) = table.shelves()
    rows = [row for page in pages_of(table, shelf, most=most) for row in page]
    assert [row.prediction.key for row in rows] == [key_of(number) for number in GOOD[:given]]
    assert [row.row for row in rows] == list(range(1, given + 1))
