"""Rows of wide models in Parquet files: one list of numbers a row, read again by row number."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
        held, group = -1, None
        for row in rows:
            if group is None or row // ROW_GROUP != held:
                held = row // ROW_GROUP
                group = _Group(file.read_row_group(held), types=types)
            yield group.row(row % ROW_GROUP)


class _Group:
    """Some rows of a file, ready to be handed out one by one."""

    def __init__(self, table: pa.Table, *, types: list[ColumnType]) -> None:
        self._words = {
            int(name.partition(":")[0]): table[name].to_pylist() for name in table.column_names if name != _VALUES
        }
        numeric = [n for n, kind in enumerate(types) if kind is not ColumnType.STRING]
        self._width = len(types)
        self._numeric = numeric
        self._whole = [place for place, n in enumerate(numeric) if types[n] is ColumnType.INTEGER]
        flat = pc.list_flatten(table[_VALUES].combine_chunks()) if numeric else pa.array([], pa.float64())
        shape = (table.num_rows, len(numeric))
        self._empty = flat.is_null().to_numpy(zero_copy_only=False).reshape(shape) if flat.null_count else None
        self._numbers = flat.fill_null(0).to_numpy(zero_copy_only=False).reshape(shape)

    def row(self, number: int) -> tuple[Cell, ...]:
        """One row of cells."""
        numbers: list[Cell] = self._numbers[number].tolist()
        if self._numbers.dtype.kind == "f":
            # A list holds one type of numbers: where some columns are floats, integers were kept as such, too.
            for place in self._whole:
                numbers[place] = int(numbers[place] or 0)
        if self._empty is not None:
            for place in np.flatnonzero(self._empty[number]).tolist():
                numbers[place] = None
        if not self._words:
            return tuple(numbers)
        cells: list[Cell] = [None] * self._width
        for place, n in enumerate(self._numeric):
            cells[n] = numbers[place]
        for n, words in self._words.items():
            cells[n] = words[number]
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
