"""The rows of an index as Arrow columns, and back."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from limner.systems.ersilia.library.index import IndexRow
from limner.systems.ersilia.reasons import Reason

_TYPES: dict[str, pa.DataType] = {
    "row": pa.int32(),
    "key": pa.string(),
    "smiles": pa.string(),
    "name": pa.string(),
    # Sixteen bytes, where the text would have twice as many.
    "record": pa.binary(),
    "reason": pa.string(),
    "message": pa.string(),
    "first": pa.int32(),
}
SCHEMA = pa.schema(_TYPES)


def new_writer(to: Path) -> pq.ParquetWriter:
    """A writer of an index; each table that it is given becomes one row group."""
    return pq.ParquetWriter(to, SCHEMA, compression="zstd")


def table_of(rows: Sequence[IndexRow]) -> pa.Table:
    """*rows* as a table."""
    columns = {
        "row": [row.row for row in rows],
        "key": [row.key for row in rows],
        "smiles": [row.smiles for row in rows],
        "name": [row.name for row in rows],
        "record": [bytes.fromhex(row.record) if row.record else None for row in rows],
        "reason": [None if row.reason is None else row.reason.value for row in rows],
        "message": [row.message for row in rows],
        "first": [row.first for row in rows],
    }
    return pa.table(columns, schema=SCHEMA)


def rows_of(table: pa.Table) -> list[IndexRow]:
    """The rows in a table."""
    columns = [table.column(name).to_pylist() for name in SCHEMA.names]
    return [
        IndexRow(
            row=row,
            key=key,
            smiles=smiles,
            name=name,
            record=record.hex() if record else "",
            reason=None if reason is None else Reason(reason),
            message=message,
            first=first,
        )
        for row, key, smiles, name, record, reason, message, first in zip(*columns, strict=True)
    ]
