"""Values of wide models stand in one Parquet file a call, and results name their row in it."""

from pathlib import Path
from random import Random

import numpy as np
import pyarrow.parquet as pq
import pytest

from limner.domain.tasks import Status
from limner.domain.values import decode
from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.packages.cells import Cells, cells_of_rows
from limner.systems.ersilia.packages.in_process import load_function
from limner.systems.ersilia.packages.inferrer import answered
from limner.systems.ersilia.packages.reading import HUB, read_package
from limner.systems.ersilia.packages.wide import read_rows, write_rows
from tests.systems.ersilia.made_packages import CULPRIT, made
from tests.systems.ersilia.predicted import working


def columns(*kinds: str) -> tuple[Column, ...]:
    """Columns of these types."""
    return tuple(Column(name=f"c{number}", type=ColumnType(kind)) for number, kind in enumerate(kinds))


def stored(path: Path, rows: list[list[Cell]], *kinds: str) -> list[tuple[Cell, ...]]:
    """What is read again of *rows*."""
    write_rows(path, cells_of_rows(rows, columns=columns(*kinds), count=len(rows)), rows=range(len(rows)))
    return list(read_rows(path, range(len(rows))))


def test_values_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Floats bit for bit, integers as such beside floats and text, and holes as holes."""
    draw = Random(7)
    rows: list[list[Cell]] = [[draw.gauss(0, 10.0**n), n, f"word {n}"] for n in range(50)]
    rows[3] = [None, 3, None]
    rows[4] = [0.1, None, ""]
    found = stored(tmp_path / "mixed.parquet", rows, "float", "integer", "string")
    assert found == [*(tuple(row) for row in rows[:4]), (0.1, None, None), *(tuple(row) for row in rows[5:])]
    assert {type(row[1]) for row in found} == {int, type(None)}


@pytest.mark.parametrize(("largest", "kind"), [(2**31 - 1, "int32"), (2**31, "int64")])
def test_integers_take_32_bits_where_they_fit(tmp_path: Path, largest: int, kind: str) -> None:
    """One list of fixed size holds them all."""
    path = tmp_path / "whole.parquet"
    assert stored(path, [[largest, -1], [0, None]], "integer", "integer") == [(largest, -1), (0, None)]
    told = str(pq.read_schema(path).field("values").type)
    assert kind in told
    assert told.endswith("[2]")


def test_only_the_rows_asked_for_are_read_in_the_order_asked(tmp_path: Path) -> None:
    """Across groups of rows, repeats too."""
    path = tmp_path / "many.parquet"
    table = cells_of_rows(np.arange(5_000).reshape(2_500, 2), columns=columns("integer", "integer"), count=2_500)
    write_rows(path, table, rows=range(2_500))
    assert pq.read_metadata(path).num_row_groups == 3
    assert list(read_rows(path, [2_499, 0, 1_000, 0])) == [(4_998, 4_999), (0, 1), (2_000, 2_001), (0, 1)]
    assert list(read_rows(path, [])) == []


def test_refused_rows_are_left_out_of_the_file(tmp_path: Path) -> None:
    """The rows of a file are those of the molecules that are done, in their order."""
    path = tmp_path / "some.parquet"
    table: Cells = cells_of_rows([[1, 2], [None, None], [5, 6]], columns=columns("integer", "integer"), count=3)
    write_rows(path, table, rows=[0, 2])
    assert list(read_rows(path, [0, 1])) == [(1, 2), (5, 6)]


def test_e21_a_wide_model_answers_with_a_file_of_its_call(tmp_path: Path) -> None:
    """Every result names the one file and its own row, in which its values stand; failures name none."""
    # given
    package = made(
        tmp_path,
        body=f"return [[len(one) + n if one != {CULPRIT!r} else None for n in range(65)] for one in smiles]",
        columns=[f"c{n}:integer" for n in range(65)],
        golden=None,
    )
    smiles = ["CC", CULPRIT, "CCCC"]

    # when
    with working(package, folder=tmp_path) as worker:
        outcomes = worker.predict(smiles)
        ((digest, content),) = worker.files.items()

    # then
    assert [outcome.status for outcome in outcomes] == [Status.DONE, Status.FAILED, Status.DONE]
    values = [decode(outcomes[n].value) for n in (0, 2)]
    assert [value["row"] for value in values] == [0, 1]
    assert {value["file"]["sha256"] for value in values} == {digest}
    path = tmp_path / "fetched.parquet"
    path.write_bytes(content)
    rows = list(read_rows(path, [value["row"] for value in values]))
    assert rows == [tuple(range(2, 67)), tuple(range(4, 69))]


@pytest.mark.slow
def test_e21_ten_thousand_fingerprints_are_small(tmp_path: Path) -> None:
    """10,000 × 2,048 counts: less than 10 MB of Parquet, and less than 1 GB in the process that makes them."""
    package, smiles = read_package(HUB / "eos5axz"), made_molecules(10_000)

    with working(package.folder, folder=tmp_path) as worker:
        outcomes = worker.predict(smiles)
        ((_, content),) = worker.files.items()
        peak = worker.peak()

    assert len(outcomes) == 10_000
    assert {outcome.status for outcome in outcomes} == {Status.DONE}
    assert len(content) < 10_000_000
    assert peak < 1_000_000_000
    path = tmp_path / "counts.parquet"
    path.write_bytes(content)
    some = range(0, 10_000, 997)
    expected = answered(package, [smiles[n] for n in some], function=load_function(package))
    assert list(read_rows(path, some)) == list(expected.rows())
