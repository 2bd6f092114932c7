"""Rows of wide models in Parquet files: one list of numbers a row, read again by row number."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limner.systems.ersilia.columns import Cell, ColumnType
from limner.systems.ersilia.packages.cells import Cells

#: Media type of such a file.
KIND = "application/vnd.apache.parquet"
#: Rows that are read together.
ROW_GROUP = 1_000
_VALUES = "values"
_NOTE = b"limner.columns"


def write_rows(path: Path, cells: Cells, *, rows: Sequence[int]) -> None:
    """Write the *rows* of *cells*, in that order: numbers as one list of fixed size, words as columns."""
    chosen = np.asarray(rows, dtype=np.int64)
    numeric = [n for n, column in enumerate(cells.columns) if column.type is not ColumnType.STRING]
    arrays: dict[str, object] = {}
    if numeric:
        matrix = np.column_stack([np.ma.getdata(cells.strips[n])[chosen] for n in numeric])
        empty = np.column_stack([np.ma.getmaskarray(cells.strips[n])[chosen] for n in numeric])
        flat = pa.array(_narrowed(matrix).ravel(), mask=empty.ravel() if empty.any() else None)
        arrays[_VALUES] = pa.FixedSizeListArray.from_arrays(flat, len(numeric))
    for n, column in enumerate(cells.columns):
        if column.type is ColumnType.STRING:
            arrays[f"{n}:{column.name}"] = pa.array(cells.strips[n][chosen].tolist(), pa.string())
    note = json.dumps([column.type for column in cells.columns]).encode()
    table = pa.table(arrays).replace_schema_metadata({_NOTE: note})
    pq.write_table(table, path, row_group_size=ROW_GROUP, compression="zstd")


def read_rows(path: Path, rows: Sequence[int]) -> Iterator[tuple[Cell, ...]]:
    """
    The values of *rows* as they are asked for, in the order of the model's columns; None is no value.

    Only the groups of rows that are needed are read, one after the other: ask in ascending order.
    """
    with pq.ParquetFile(path) as file:
        note = (file.schema_arrow.metadata or {})[_NOTE]
        types = [ColumnType(kind) for kind in json.loads(note)]
        held, group = -1, pa.table({})
        for row in rows:
            if row // ROW_GROUP != held:
                held = row // ROW_GROUP
                group = file.read_row_group(held)
            yield _row(group, row % ROW_GROUP, types=types)


def _row(group: pa.Table, row: int, *, types: list[ColumnType]) -> tuple[Cell, ...]:
    numbers = iter(group[_VALUES][row].as_py() if _VALUES in group.column_names else ())
    words = {int(name.partition(":")[0]): group[name][row].as_py() for name in group.column_names if name != _VALUES}
    cells: list[Cell] = []
    for n, kind in enumerate(types):
        cell = words[n] if kind is ColumnType.STRING else next(numbers)
        # A list holds one type of numbers: where some columns are floats, integers were kept as such, too.
        cells.append(int(cell) if kind is ColumnType.INTEGER and cell is not None else cell)
    return tuple(cells)


def _narrowed(
    matrix: "np.ndarray[tuple[int, int], np.dtype[np.generic]]",
) -> "np.ndarray[tuple[int, int], np.dtype[np.generic]]":
    """Integers in 32 bits where they fit."""
    if not np.issubdtype(matrix.dtype, np.integer):
        return matrix
    limits = np.iinfo(np.int32)
    fits = not matrix.size or (matrix.min() >= limits.min and matrix.max() <= limits.max)
    return matrix.astype(np.int32) if fits else matrix
