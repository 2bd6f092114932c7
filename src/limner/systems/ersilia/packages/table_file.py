"""Reads and checks the CSV file that a package's command wrote: first its columns, then every cell."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from limner.systems.ersilia.columns import Column, ColumnType
from limner.systems.ersilia.packages.base import OutputRefused
from limner.systems.ersilia.packages.cells import Cells, Strip, cells_of, number_strip

if TYPE_CHECKING:
    from pandera.api.polars.types import PolarsData


def read_output(path: Path, *, columns: tuple[Column, ...], count: int) -> Cells:
    """
    The cells of *path*, which answers *count* molecules.

    Raises:
        OutputRefused: ``bad_columns`` (names, order or count are others) or ``misaligned`` (the number of rows is
            another), so that no row of it can be taken.
    """
    frame = _frame(path)
    _refuse_shape(frame.columns, len(frame), columns=columns, count=count)
    return _cells(frame, columns=columns)


def cells_of_text(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, columns: tuple[Column, ...], count: int
) -> Cells:
    """
    The same of a table that was read already, cell by cell.

    Raises:
        OutputRefused: as of :func:`read_output`; a row of another length is ``misaligned``.
    """
    _refuse_shape(list(header), len(rows), columns=columns, count=count)
    if any(len(row) != len(header) for row in rows):
        raise OutputRefused("misaligned", f"a row has another number of cells than the {len(header)} of the header")
    series = [pl.Series(name, [row[n] for row in rows], dtype=pl.String) for n, name in enumerate(header)]
    return _cells(pl.DataFrame(series), columns=columns)


def _refuse_shape(header: list[str], rows: int, *, columns: tuple[Column, ...], count: int) -> None:
    names = [column.name for column in columns]
    if header != names:
        raise OutputRefused("bad_columns", _difference(header, names))
    if rows != count:
        raise OutputRefused("misaligned", f"{rows} rows came for {count} molecules")


def _cells(frame: pl.DataFrame, *, columns: tuple[Column, ...]) -> Cells:
    wrong: dict[int, list[str]] = {}
    strips = [_strip(frame[column.name], column=column, wrong=wrong) for column in columns]
    return cells_of(strips, columns=columns, wrong=wrong)


def _frame(path: Path) -> pl.DataFrame:
    """The file as text; an empty cell is null, and an empty line a row of them."""
    try:
        return pl.read_csv(path, infer_schema=False, encoding="utf8-lossy")
    except pl.exceptions.NoDataError as error:
        raise OutputRefused("bad_columns", "the output is empty, without a header") from error
    except pl.exceptions.PolarsError as error:
        raise OutputRefused("misaligned", f"the output is no table: {str(error).splitlines()[0]}") from error


def _strip(cells: pl.Series, *, column: Column, wrong: dict[int, list[str]]) -> Strip:
    cells = cells.set(cells == "", None)
    if column.type is ColumnType.STRING:
        return np.ma.masked_array(cells.fill_null("").to_numpy().astype(np.object_), mask=cells.is_null().to_numpy())
    numbers = cells.cast(pl.Float64, strict=False)
    if numbers.null_count() > cells.null_count():
        cells = cells.str.strip_chars()
        cells = cells.set(cells == "", None)
        numbers = cells.cast(pl.Float64, strict=False)
        for row, told in _no_numbers(cells):
            wrong.setdefault(row, []).append(f"column {column.name} holds {told[:50]!r}, which is no number")
    if column.type is ColumnType.INTEGER:
        return _whole(cells, numbers, column=column, wrong=wrong)
    return number_strip(numbers.fill_null(float("nan")).to_numpy(), column=column, wrong=wrong)


def _whole(cells: pl.Series, numbers: pl.Series, *, column: Column, wrong: dict[int, list[str]]) -> Strip:
    """Integers, those without a point as they are written: 64 bits hold more digits than a float does."""
    written = cells.cast(pl.Int64, strict=False)
    exact = written.is_not_null()
    others = numbers.set(exact, 0.0).fill_null(float("nan")).to_numpy()
    kept = number_strip(others, column=column, wrong=wrong)
    kept[exact.to_numpy()] = written.drop_nulls().to_numpy()
    return kept


def _no_numbers(cells: pl.Series) -> list[tuple[int, str]]:
    """By row, the cells that are no numbers: all of them, as pandera finds them."""
    # Half a second to import, and only what is wrong needs it.
    import pandera.polars as pa

    def numeric(data: "PolarsData") -> pl.LazyFrame:
        asked = pl.col(data.key)
        return data.lazyframe.select(asked.is_null() | asked.cast(pl.Float64, strict=False).is_not_null())

    schema = pa.DataFrameSchema({cells.name: pa.Column(pl.String, pa.Check(numeric), nullable=True)})
    try:
        schema.validate(cells.to_frame(), lazy=True)
    except pa.errors.SchemaErrors as error:
        found = error.failure_cases.select("index", "failure_case").iter_rows()
        return [(int(row), str(told)) for row, told in found if row is not None]
    return []


def _difference(found: list[str], wanted: list[str]) -> str:
    """How the columns that came differ from those that are declared."""
    if len(found) != len(wanted):
        return f"{len(found)} columns came, and {len(wanted)} are declared"
    at, (one, other) = next((n, pair) for n, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1])
    return f"column {at + 1} is {one!r}, and {other!r} is declared there"
