"""Forms of large answers: prediction files as CSV and as Parquet."""

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from limner.systems.ersilia.columns import Cell
from limner.systems.ersilia.door.wanted import Block

if TYPE_CHECKING:
    import pyarrow as pa

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"


def form_of(accepted: str) -> str | None:
    """The form that the header ``Accept`` names; None for JSON."""
    kinds = [part.partition(";")[0].strip().lower() for part in accepted.split(",")]
    return next((kind for kind in kinds if kind in (CSV, PARQUET)), None)


def as_csv(block: Block) -> bytes:
    """``key,input`` and the columns, a row for each molecule in order; empty cells where there are no values."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["key", "input", *(column["name"] for column in block.columns)])
    empty = [""] * len(block.columns)
    for one in block.results:
        values = empty if one.values is None else [cell(value) for value in one.values]
        writer.writerow([one.key, one.smiles or "", *values])
    return out.getvalue().encode()


def cell(value: Cell) -> str:
    """A value as a file of predictions writes it: floats in the shortest form that gives them back."""
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def as_parquet(block: Block) -> bytes:
    """The same with the status of each row, and with what made it as metadata of the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    results = block.results
    names = ["key", "input", "status", *(column["name"] for column in block.columns)]
    arrays = [
        pa.array([one.key for one in results], pa.string()),
        pa.array([one.smiles for one in results], pa.string()),
        pa.array([one.status for one in results], pa.string()),
        *_columns(block),
    ]
    told = {"model": block.model, "version": block.version or "", "environment": block.environment_digest or ""}
    table = pa.Table.from_arrays(arrays, names=names).replace_schema_metadata(told)
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _columns(block: Block) -> "list[pa.Array[Any]]":
    import pyarrow as pa

    kinds = {"float": pa.float64(), "integer": pa.int64(), "string": pa.string()}
    empty: Sequence[Cell] = [None] * len(block.columns)
    rows = [empty if one.values is None else one.values for one in block.results]
    by_column = list(zip(*rows, strict=True)) if rows else [()] * len(block.columns)
    return [
        pa.array(list(values), kinds[column["type"]]) for column, values in zip(block.columns, by_column, strict=True)
    ]
