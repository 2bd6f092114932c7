"""Collections of slices as tables: the rows with what was inferred about them, and how many failed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from limner.artifacts.base import Artifacts
from limner.domain.records import ExportRow
from limner.domain.slicing import ID, SLICE, TABLE
from limner.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


class RowCounts(Struct, frozen=True, kw_only=True):
    """How the rows of all slices ended in one stage."""

    done: int = 0
    failed: int = 0
    skipped: int = 0


def count_rows(slices: Iterator[ExportRow]) -> dict[str, RowCounts]:
    """By stage: how the rows of *slices* ended, as far as the slices are done."""
    found: dict[str, RowCounts] = {}
    for one in slices:
        for stage, value in one.values.items():
            so_far = found.get(stage, RowCounts())
            done = value["rows"] - value["failed"] - value["skipped"]
            found[stage] = RowCounts(
                done=so_far.done + done,
                failed=so_far.failed + value["failed"],
                skipped=so_far.skipped + value["skipped"],
            )
    return found


def tables_of(
    slices: Iterator[ExportRow], artifacts: Artifacts, *, ids: Sequence[str] | None = None
) -> "Iterator[pa.Table]":
    """
    Each slice with rows as a table: its own columns, then ``stage.output``, and ``stage._failed`` and the like.

    *ids* narrow it to those rows, for which the ids of all slices are looked through.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = None if ids is None else pa.array(list(ids), pa.string())
    for one in slices:
        if SLICE not in one.record.fields:
            continue
        with pa.memory_map(str(_file(artifacts, str(one.record.fields[SLICE]).removeprefix("artifact:")))) as mapped:
            rows = pa.ipc.open_file(mapped).read_all()
            places = None if wanted is None else pc.indices_nonzero(pc.is_in(rows.column(ID), value_set=wanted))
            if places is not None and not len(places):
                continue
            whole = _joined(rows, one, artifacts)
            yield whole if places is None else whole.take(places)


def write_tables(tables: "Iterator[pa.Table]", to: Path) -> int:
    """
    Write the tables as one file, Parquet or CSV by its ending, which appears when it is whole; how many rows it has.

    Raises:
        UsageError: the ending is another one, or the tables hold what CSV cannot.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    writers = {".parquet": pyarrow.parquet.ParquetWriter, ".csv": pyarrow.csv.CSVWriter}
    if to.suffix.lower() not in writers:
        raise UsageError(f"{to} has no ending that slices are written by; use .parquet or .csv.")
    part = to.with_name(f".{to.name}.part")
    writer, count = None, 0
    try:
        for table in tables:
            if writer is None:
                part.parent.mkdir(parents=True, exist_ok=True)
                writer = writers[to.suffix.lower()](part, table.schema)
            writer.write_table(table.select(writer.schema.names) if hasattr(writer, "schema") else table)
            count += table.num_rows
        if writer is None:
            raise UsageError("There is no slice with rows to be written.")
        writer.close()
        part.replace(to)
    except pa.ArrowException as error:
        raise UsageError(f"{to} cannot be written: {error}.") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _joined(rows: "pa.Table", one: ExportRow, artifacts: Artifacts) -> "pa.Table":
    """The rows of a slice and, beside them, what each stage said of them."""
    import pyarrow.parquet

    for stage, value in one.values.items():
        said = pyarrow.parquet.read_table(_file(artifacts, value[TABLE]["sha256"]))
        for name in said.column_names:
            if name != ID:
                rows = rows.append_column(f"{stage}.{name}", said.column(name))
    return rows


def _file(artifacts: Artifacts, sha256: str) -> Path:
    return artifacts.path(sha256)
