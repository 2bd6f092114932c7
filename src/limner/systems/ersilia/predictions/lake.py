"""Predictions as Parquet: one dataset for each version of a model, in which every key stands once."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.nouns import KeyScheme, Prediction, Release

#: A model with more columns has all its numbers in one column of lists.
WIDE = 64
#: The column of those lists; its metadata hold the names of the model's columns, as JSON, under :data:`NAMES`.
VALUES, NAMES = "values", b"limner.columns"
#: Rows that are found, and read, together.
ROW_GROUP = 1_000
_TYPES: Mapping[ColumnType, pa.DataType] = {
    ColumnType.FLOAT: pa.float64(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.STRING: pa.string(),
}
_Places: TypeAlias = list[int]
_Array: TypeAlias = "pa.Array[pa.Scalar[Any]]"


def lake_folder(release: Release) -> str:
    """The folder of one version, in the style of Hive."""
    return f"lake/model_id={release.model}/version={release.version}"


def part_name(number: int) -> str:
    """The name of a file in it."""
    return f"part-{number:05}.parquet"


def part_number(name: str) -> int | None:
    """The number of the file called *name*; None where it is another's."""
    digits = name.removeprefix("part-").removesuffix(".parquet")
    return int(digits) if digits.isdecimal() and name == f"part-{digits}.parquet" else None


class Layout:
    """How the columns of a model stand in a file: one each, or where it has many, one list of all its numbers."""

    def __init__(self, columns: Sequence[Column], *, scheme: KeyScheme) -> None:
        self._columns = columns
        self._scheme = scheme.value
        wide = len(columns) > WIDE
        numbers = [place for place, column in enumerate(columns) if column.type is not ColumnType.STRING]
        self._listed: _Places = numbers if wide else []
        self._single: _Places = [place for place in range(len(columns)) if place not in set(self._listed)]
        whole = all(columns[place].type is ColumnType.INTEGER for place in numbers)
        self._cell: pa.DataType = pa.int32() if whole else pa.float64()
        self.schema = self._schema()

    def table(self, predictions: Sequence[Prediction]) -> pa.Table:
        """
        *predictions*, which have values, as a table.

        Raises:
            pa.ArrowInvalid: a number does not fit its column.
        """
        rows = [one.values or () for one in predictions]
        arrays: list[_Array] = [
            pa.array([one.key for one in predictions], pa.string()),
            pa.array([self._scheme] * len(rows), pa.string()),
            pa.array([one.smiles for one in predictions], pa.string()),
        ]
        for place in self._single:
            kind = self._columns[place].type
            arrays.append(pa.array([_cell(row[place], kind) for row in rows], _TYPES[kind]))
        if self._listed:
            arrays.append(self._lists(rows))
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _schema(self) -> pa.Schema:
        fields: list[pa.Field[Any]] = [pa.field(name, pa.string()) for name in ("key", "key_scheme", "input")]
        fields += [pa.field(self._columns[place].name, _TYPES[self._columns[place].type]) for place in self._single]
        if self._listed:
            names = json.dumps([self._columns[place].name for place in self._listed])
            kind: pa.DataType = pa.list_(self._cell, len(self._listed))
            fields.append(pa.field(VALUES, kind, metadata={NAMES: names.encode()}))
        return pa.schema(fields)

    def _lists(self, rows: Sequence[Sequence[Cell]]) -> _Array:
        """The lists of numbers, with nulls where there is no value."""
        if len(self._listed) < len(self._columns):
            rows = [[row[place] for place in self._listed] for row in rows]
        cells = np.array(rows, dtype=np.float64).ravel()  # None becomes NaN, which no stored number is
        none = np.isnan(cells)
        # Arrow's own cast, which refuses what does not fit.
        flat: _Array = pa.array(cells, pa.float64(), mask=none if none.any() else None).cast(self._cell)
        return pa.FixedSizeListArray.from_arrays(flat, len(self._listed))


class PartFile:
    """Writes one file of a dataset, in row groups of :data:`ROW_GROUP`."""

    def __init__(self, path: Path, *, layout: Layout) -> None:
        self._writer = pq.ParquetWriter(path, layout.schema, compression="zstd")
        self._waiting = layout.schema.empty_table()

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        self._waiting = pa.concat_tables([self._waiting, table])
        whole = self._waiting.num_rows // ROW_GROUP * ROW_GROUP
        if whole:
            self._writer.write_table(self._waiting.slice(0, whole), row_group_size=ROW_GROUP)
            self._waiting = self._waiting.slice(whole)

    def close(self) -> None:
        """Write what is left."""
        if self._waiting.num_rows:
            self._writer.write_table(self._waiting)
        self._writer.close()


def keep_rows(table: pa.Table, kept: npt.NDArray[np.bool_], *, to: Path) -> None:
    """Write the rows for which *kept* is true."""
    pq.write_table(table.filter(pa.array(kept)), to, compression="zstd", row_group_size=ROW_GROUP)


def alike(one: pa.Table, other: pa.Table) -> npt.NDArray[np.bool_]:
    """For each row whether it is the same in two tables of one layout and length."""
    same = np.ones(one.num_rows, dtype=np.bool_)
    for name in one.column_names:
        left, right = (_comparable(table.column(name)) for table in (one, other))
        equal = left == right
        if left.dtype == np.float64:
            equal |= np.isnan(left) & np.isnan(right)
        same &= equal.all(axis=1) if equal.ndim == 2 else equal
    return same


def _comparable(column: "pa.ChunkedArray[Any]") -> npt.NDArray[np.generic]:
    """A column as an array with as many rows; numbers that are null become NaN."""
    whole: _Array = column.combine_chunks()
    if not isinstance(whole, pa.FixedSizeListArray):
        return _flat(whole)
    return _flat(whole.flatten()).reshape(len(whole), -1)


def _flat(array: _Array) -> npt.NDArray[np.generic]:
    if pa.types.is_string(array.type):
        return np.array(array.to_pylist(), dtype=object)
    # As floats throughout, since integers with nulls come so: both sides of a comparison are alike then.
    return array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _cell(value: Cell, kind: ColumnType) -> Cell:
    """*value* as its column holds it: a whole number that came as a float is one."""
    if kind is ColumnType.INTEGER and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
