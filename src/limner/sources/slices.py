"""Source of slices: a Parquet file as records of many rows each, whose columns go to the artifacts as they are."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from limner.domain.records import RecordIn, SetAside
from limner.domain.slicing import ID, SLICE, name_of_slice
from limner.domain.values import Value
from limner.errors import MissingExtra, UsageError
from limner.sources.base import Found, Source, aside

if TYPE_CHECKING:
    import pyarrow as pa


class Slices(Source):
    """
    A Parquet file, cut into slices of *rows* rows in their order; the last one may be smaller.

    A row without an id, with one that an earlier row of its slice has, or with a number that is infinite is set aside;
    a single NaN is no value. A slice is stored by the digest of its columns, so that one that did not change is not
    inferred again.
    """

    unique = True

    def __init__(
        self,
        path: Path,
        *,
        collection: str,
        rows: int,
        keep: Callable[[bytes], str],
        known: Callable[[str], Iterable[str]] = lambda _: (),
    ) -> None:
        """
        *keep* puts bytes among the artifacts and tells their SHA-256.

        *known* tells the slices of the table of this name that are stored; those that are no more become empty.
        """
        super().__init__(collection=collection)
        if importlib.util.find_spec("pyarrow") is None:
            raise MissingExtra(extra="tables", needs="Reading Parquet")
        if path.suffix.lower() != ".parquet":
            raise UsageError(f"{path} is no Parquet file, which a pipeline over slices reads; convert it first.")
        self._path = path
        self._rows = rows
        self._keep = keep
        self._known = known

    def describe(self) -> str:
        """What it is, for a person."""
        return f"slices of Parquet from {self._path}"

    def rows(self) -> Iterator[Found | SetAside]:
        """
        A record for each slice, after the rows of it that are set aside, which are numbered from 1.

        Raises:
            UsageError: it is no Parquet file, cannot be read any further, or has no column ``id``.
        """
        import pyarrow
        import pyarrow.parquet

        first, number, table = 0, 0, self._path.name
        try:
            with pyarrow.parquet.ParquetFile(self._path, pre_buffer=False) as file:
                if ID not in file.schema_arrow.names:
                    names = ", ".join(file.schema_arrow.names)
                    raise UsageError(f"{self._path} has no column {ID}; it has: {names}.")
                for whole in _cut(file, self._rows):
                    kept, problems = _sound(whole)
                    yield from (aside(first + row + 1, problem) for row, problem in problems.items())
                    yield self._slice(table, number, kept, first=first)
                    first, number = first + whole.num_rows, number + 1
        except (OSError, pyarrow.ArrowException) as error:
            raise UsageError(f"{self._path} cannot be read as Parquet after row {first}: {error}.") from error
        made = {name_of_slice(table, at) for at in range(number)}
        for gone in sorted(set(self._known(table)) - made):
            yield _found(self.collection, gone, {"table": table, "rows": 0})

    def _slice(self, table: str, number: int, rows: "pa.Table", *, first: int) -> Found:
        fields: dict[str, object] = {"table": table, "first": first + 1, "rows": rows.num_rows}
        if rows.num_rows:
            fields[SLICE] = f"artifact:{self._keep(_bytes(rows))}"
        return _found(self.collection, name_of_slice(table, number), fields)


def _found(collection: str, identity: str, fields: dict[str, object]) -> Found:
    return Found(row=identity, records=[RecordIn(collection=collection, id=identity, fields=fields)], excerpt=identity)


def _cut(file: "pa.parquet.ParquetFile", rows: int) -> "Iterator[pa.Table]":
    """The file as tables of *rows* rows."""
    import pyarrow

    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in file.iter_batches(batch_size=rows, use_threads=False):
        rest = batch
        while count + rest.num_rows >= rows:
            yield pyarrow.Table.from_batches([*waiting, rest.slice(0, rows - count)])
            rest = rest.slice(rows - count)
            waiting, count = [], 0
        if rest.num_rows:
            waiting.append(rest)
            count += rest.num_rows
    if waiting:
        yield pyarrow.Table.from_batches(waiting)


def _sound(rows: "pa.Table") -> "tuple[pa.Table, dict[int, str]]":
    """The rows that can be inferred, their ids as text; by its place, what is wrong with each other one."""
    import numpy as np
    import pyarrow
    import pyarrow.compute as pc

    ids = pc.cast(rows.column(ID), pyarrow.string())
    rows = rows.set_column(rows.schema.get_field_index(ID), ID, ids)
    problems: dict[int, str] = {}
    texts: Value = ids
    if ids.null_count or len(pc.unique(ids)) != len(ids) or pc.index(texts, pyarrow.scalar("")).as_py() >= 0:
        seen: set[str] = set()
        for row, identity in enumerate(ids.to_pylist()):
            if not identity:
                problems[row] = "It has no id."
            elif identity in seen:
                problems[row] = f"The id {identity} stands in an earlier row."
            seen.add(identity or "")
    for name in rows.schema.names:
        cleaned, endless = _finite(rows.column(name))
        if cleaned is not None:
            rows = rows.set_column(rows.schema.get_field_index(name), name, cleaned)
        for row in endless:
            problems.setdefault(row, f"{name} holds a number that is not finite.")
    if problems:
        keep = np.ones(rows.num_rows, dtype=bool)
        keep[list(problems)] = False
        rows = rows.filter(pyarrow.array(keep))
    return rows, dict(sorted(problems.items()))


def _finite(column: "pa.ChunkedArray[Value]") -> "tuple[pa.ChunkedArray[Value] | None, list[int]]":
    """A column of single floats with null in place of NaN, and the places of numbers that cannot be."""
    import numpy as np
    import pyarrow
    import pyarrow.compute as pc
    from pyarrow import types

    kind = column.type
    if types.is_floating(kind):
        if pc.all(pc.is_finite(column)).as_py() is not False:
            return None, []
        endless = pc.is_inf(column).fill_null(False).to_numpy()
        cleaned = pc.if_else(pc.is_nan(column), pyarrow.scalar(None, kind), column)
        return cleaned, np.flatnonzero(endless).tolist()
    if types.is_fixed_size_list(kind) and types.is_floating(kind.value_type):
        chunks: Value = column.chunks
        whole = pyarrow.concat_arrays(chunks)
        if pc.all(pc.is_finite(pc.list_flatten(whole))).as_py() is not False:
            return None, []
        rows: list[Value] = column.to_pylist()
        return None, [n for n, row in enumerate(rows) if row is not None and not np.isfinite(row).all()]
    return None, []


def _bytes(rows: "pa.Table") -> bytes:
    """The rows as an Arrow file, whose bytes depend on nothing but what the rows hold."""
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    whole = rows.replace_schema_metadata(None).combine_chunks()
    with pyarrow.ipc.new_file(sink, whole.schema) as writer:
        writer.write_table(whole)
    return sink.getvalue().to_pybytes()
