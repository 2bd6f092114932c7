"""Sink of Parquet: a typed column for each field, output and digest, in row groups of one page or more."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from limner.domain.records import ExportRow
from limner.domain.values import Value, plain
from limner.errors import MissingExtra, UsageError
from limner.sinks.base import FileSink
from limner.sinks.layout import Column, Kind, Layout, value_at

if TYPE_CHECKING:
    import pyarrow

#: Rows that are collected into one row group, and so held in memory.
ROW_GROUP = 10_000
#: Metadata key of a column whose text is JSON; the Parquet source reads it back into values.
JSON_MARK = b"limner.json"


class ParquetFile(FileSink):
    """
    One column a field, output and digest; vectors are lists of float32, bytes binary, nested values JSON text whose
    column is marked so. Absent values are null.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if importlib.util.find_spec("pyarrow") is None:
            raise MissingExtra(extra="tables", needs="Writing Parquet")
        self._rows: list[ExportRow] = []

    def describe(self) -> str:
        """What it is, for a person."""
        return f"Parquet to {self._path}"

    def _begin(self, path: Path, *, layout: Layout) -> None:
        import pyarrow.parquet

        self._layout = layout
        self._columns = layout.columns()
        self._schema = _schema(self._columns)
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema, compression="zstd")

    def _take(self, rows: Sequence[ExportRow]) -> None:
        for row in rows:
            self._layout.check(row)
            self._rows.append(row)
            if len(self._rows) == ROW_GROUP:
                self._flush()

    def _finish(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()

    def _abandon(self) -> None:
        self._rows = []
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        arrays = [
            self._array(column, kind=field.type) for column, field in zip(self._columns, self._schema, strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []

    def _array(self, column: Column, *, kind: "pyarrow.DataType") -> "pyarrow.Array[Value]":
        """One column of the row group at hand."""
        import pyarrow

        cells = [value_at(row, column.place) for row in self._rows]
        try:
            return pyarrow.array([_cell(cell, kind=column.kind) for cell in cells], type=kind)
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise UsageError(
                f"{column.name} holds what is no {column.kind.value}, so it changed during the export; run it again: "
                f"{error}."
            ) from error


def _schema(columns: list[Column]) -> "pyarrow.Schema":
    import pyarrow

    kinds: dict[Kind, pyarrow.DataType] = {
        Kind.TEXT: pyarrow.string(),
        Kind.WHOLE: pyarrow.int64(),
        Kind.NUMBER: pyarrow.float64(),
        Kind.FLAG: pyarrow.bool_(),
        Kind.STRINGS: pyarrow.list_(pyarrow.string()),
        Kind.BYTES: pyarrow.binary(),
        Kind.VECTOR: pyarrow.list_(pyarrow.float32()),
        Kind.JSON: pyarrow.string(),
    }
    return pyarrow.schema(
        [
            pyarrow.field(c.name, kinds[c.kind], metadata={JSON_MARK: b"1"} if c.kind is Kind.JSON else None)
            for c in columns
        ]
    )


def _cell(value: Value, *, kind: Kind) -> Value:
    """*value* as pyarrow takes it."""
    if value is None:
        return None
    if kind is Kind.JSON:
        return msgspec.json.encode(plain(value)).decode()
    if kind is Kind.VECTOR:
        import numpy as np

        return np.asarray(value, dtype=np.float32)
    if kind is Kind.NUMBER:
        return float(value)
    return int(value) if kind is Kind.WHOLE else value
