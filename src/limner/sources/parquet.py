"""Source of Parquet: row groups streamed in batches; a damaged row group costs its own rows."""

import datetime
import decimal
import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from limner.domain.records import NotARecord, SetAside
from limner.domain.values import Value, finite
from limner.errors import MissingExtra, UsageError
from limner.sources.base import Columns, Found, Source, aside, checked
from limner.sources.rows import record_of

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

#: Rows turned into Python at once.
BATCH = 4_096
#: Metadata key of a column whose text is JSON, as the Parquet sink writes nested values.
JSON_MARK = b"limner.json"


class ParquetFile(Source):
    """A Parquet file; null and NaN are no value, times become ISO-8601 text, decimals text."""

    def __init__(self, path: Path, *, collection: str, columns: Columns) -> None:
        super().__init__(collection=collection)
        if importlib.util.find_spec("pyarrow") is None:
            raise MissingExtra(extra="tables", needs="Reading Parquet")
        self._path = path
        self._columns = columns

    def describe(self) -> str:
        """What it is, for a person."""
        return f"Parquet from {self._path}"

    def rows(self) -> Iterator[Found | SetAside]:
        """
        Every row, numbered from 1.

        Raises:
            UsageError: it is no Parquet file, or has no id column.
        """
        import pyarrow
        import pyarrow.parquet

        try:
            file = pyarrow.parquet.ParquetFile(self._path, pre_buffer=False)
        except (OSError, pyarrow.ArrowException) as error:
            raise UsageError(f"{self._path} is no readable Parquet file: {error}.") from error
        with file:
            names = file.schema_arrow.names
            if self._columns.id not in names:
                raise UsageError(f"{self._path} has no column {self._columns.id}; it has: {', '.join(names)}.")
            start = 1
            for group in range(file.num_row_groups):
                yield from self._group(file, group=group, start=start)
                start += file.metadata.row_group(group).num_rows

    def _group(self, file: "pyarrow.parquet.ParquetFile", *, group: int, start: int) -> Iterator[Found | SetAside]:
        import pyarrow

        nested = [f.name for f in file.schema_arrow if JSON_MARK in (f.metadata or {})]
        number, end = start, start + file.metadata.row_group(group).num_rows
        try:
            for batch in file.iter_batches(batch_size=BATCH, row_groups=[group]):
                plain = {name for name in batch.schema.names if name not in nested and _is_plain(batch[name])}
                for row in batch.to_pylist():
                    yield self._row(row, number=number, nested=nested, plain=plain)
                    number += 1
        except (OSError, pyarrow.ArrowException) as error:
            for lost in range(number, end):
                yield aside(lost, f"Its row group, {group + 1} of {file.num_row_groups}, cannot be read: {error}.")

    def _row(self, row: dict[str, Value], *, number: int, nested: list[str], plain: set[str]) -> Found | SetAside:
        try:
            named = {
                name: cell if name in plain else _json(cell, mark=name in nested)
                for name, cell in row.items()
                if not _empty(cell)
            }
            if not all(name in plain or finite(cell) for name, cell in named.items()):
                raise NotARecord("It holds a number that is not finite.")
            record = record_of(named, collection=self.collection, columns=self._columns)
            return Found(row=number, records=checked([record]), excerpt=f"{self._columns.id} {record.id}")
        except NotARecord as error:
            return aside(number, str(error), text=str(row))


def _is_plain(column: "pyarrow.Array[pyarrow.Scalar[pyarrow.DataType]]") -> bool:
    """Whether a record may hold the column's values as they are; told of the whole column, not cell by cell."""
    import pyarrow.compute
    from pyarrow import types

    kind = column.type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        column = pyarrow.compute.list_flatten(column)  # type: ignore[arg-type]  # its type was just found to be a list
        kind = column.type
    if types.is_floating(kind):
        return bool(pyarrow.compute.all(pyarrow.compute.is_finite(column)).as_py() is not False)
    return types.is_integer(kind) or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)


def _empty(cell: Value) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _json(cell: Value, *, mark: bool) -> Value:
    """*cell* in the types a record holds."""
    if mark and isinstance(cell, str):
        try:
            return msgspec.json.decode(cell)
        except msgspec.DecodeError as error:
            raise NotARecord(f"A column marked as JSON holds {cell[:80]!r}: {error}.") from error
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, decimal.Decimal):
        return str(cell)
    if isinstance(cell, dict):
        return {name: _json(item, mark=False) for name, item in cell.items()}
    return [_json(item, mark=False) for item in cell] if isinstance(cell, list) else cell
