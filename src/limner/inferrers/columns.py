"""Inferrer over slices of a table: hands a user's inferrer whole columns, and keeps what it answers in one file."""

import inspect
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from limner.domain.failures import FailureCode
from limner.domain.slicing import ID, SLICE, TABLE, Columns
from limner.domain.tasks import Runtime
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.errors import InferrerBroken
from limner.inferrers.answered_columns import Answered, ChunkedCells, Column, Rows
from limner.inferrers.base import Inferrer, OutputsMiscounted, Want
from limner.inferrers.python import arguments_of
from limner.inferrers.sources import describe_target, load_target

#: Part of the version of everything that is inferred so: how columns are handed over and kept.
_CODE = "columns:1"


class ColumnsInferrer(Inferrer):
    """
    A user's class or function, called with columns by name: a NumPy array where they are numbers, else a list.

    An argument that is annotated as a list comes as one in any case. It answers with as many rows: an array (rows ×
    numbers, or rows), a dictionary of arrays or lists by output, or a list with a dictionary, a value or an exception
    for each row. What raises is asked again in halves, so that one row fails alone.
    """

    def __init__(self, runtime: Runtime, *, model_path: Path | None, device: str | None = None) -> None:
        """
        Import the user's inferrer, and where it is a class make one object of it.

        Raises:
            InferrerBroken: it cannot be loaded, or does not take what the stage gives it.
        """
        self._told = _told(runtime.params)
        target = load_target(self._told.infer)
        self._description = _described(self._told.infer, target)
        offered: dict[str, object] = {
            "model": model_path,
            "manifest": dict(runtime.model.manifest) if runtime.model else None,
            "device": device,
        }
        arguments = arguments_of(self._told.infer, target, params=self._told.params, offered=offered)
        self._object: object = None
        if inspect.isclass(target):
            self._object = target(**arguments)
            self._call: Callable[..., object] = self._object.infer  # type: ignore[attr-defined]  # arguments_of saw it
            arguments = {}
        else:
            self._call = target  # type: ignore[assignment]  # arguments_of saw that it can be called
        self._arguments = arguments
        self._lists = _lists(self._told.infer, self._call, reads=list(self._told.reads), given=set(arguments))

    def describe(self) -> Description:
        """The user's inferrer's own version, and how columns are handed over."""
        return self._description

    def wants(self) -> Mapping[str, Want]:
        """The files of the slice and of what earlier stages said of it."""
        return dict.fromkeys({SLICE, *(owner for owner, _ in self._told.reads.values())}, Want.PATH)

    def infer(self, columns: Mapping[str, list[object]]) -> list[object]:
        """What each slice came to: the file, and how many rows it has, failed and were skipped."""
        paths = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return [self._slice({name: Path(str(path)) for name, path in one.items()}) for one in paths]

    def close(self) -> None:
        """Call the object's own ``close``, where it has one."""
        close = getattr(self._object, "close", None)
        if callable(close):
            close()

    def _slice(self, files: Mapping[str, Path]) -> object:
        rows, inputs = self._read(files)
        kept = rows.open()
        chosen = inputs if len(kept) == rows.count else {name: _at(column, kept) for name, column in inputs.items()}
        answered = Answered(self._told.outputs)
        if len(kept):
            self._fill(answered, kept, chosen, 0, len(kept))
        table = answered.table(rows)
        descriptor, name = tempfile.mkstemp(suffix=".parquet")
        os.close(descriptor)
        pq.write_table(table, name)
        return {TABLE: Path(name), "rows": rows.count, "failed": rows.failed, "skipped": rows.skipped}

    def _fill(
        self, answered: Answered, kept: npt.NDArray[np.int64], inputs: Mapping[str, Column], begin: int, end: int
    ) -> None:
        """Answer the open rows from *begin* to *end*; where that raises, each half by itself."""
        try:
            whole = begin == 0 and end == len(kept)
            part = inputs if whole else {name: column[begin:end] for name, column in inputs.items()}
            answered.take(kept[begin:end], self._call(**part, **self._arguments))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a user's code raises fails its rows and no others
            if end - begin == 1:
                miscounted = isinstance(error, OutputsMiscounted)
                code = FailureCode.OUTPUT_INVALID if miscounted else FailureCode.MODEL_ERROR
                answered.fail(int(kept[begin]), code, f"{type(error).__name__}: {error}")
                return
            middle = (begin + end) // 2
            self._fill(answered, kept, inputs, begin, middle)
            self._fill(answered, kept, inputs, middle, end)

    def _read(self, files: Mapping[str, Path]) -> tuple[Rows, dict[str, Column]]:
        """The rows of a slice, some of them skipped or failed already, and the columns that are handed over."""
        wanted = self._told.reads.values()
        tables = {
            owner: _table(file, owner, columns=[column for one, column in wanted if one == owner])
            for owner, file in files.items()
        }
        rows = Rows(tables[SLICE].column(ID))
        inputs: dict[str, Column] = {}
        for name, (owner, column) in self._told.reads.items():
            found = tables[owner].column(column) if column in tables[owner].column_names else None
            if found is None and name not in self._told.optional:
                raise InferrerBroken(f"{name} is read from {column}, which {_whose(owner)} has no column of.")
            if owner != SLICE:
                rows.follow(tables[owner], stage=owner)
            if found is not None and found.null_count and name not in self._told.optional:
                rows.skip(pc.is_null(found).to_numpy(zero_copy_only=False), reason=self._told.absent[name])
            inputs[name] = _column(found, rows.count, as_list=name in self._lists)
        return rows, inputs


def describe_columns(params: Mapping[str, Value]) -> Description:
    """What makes the answers of ``columns`` with *params* interchangeable; the user's module is imported."""
    try:
        told = _told(params)
        return _described(told.infer, load_target(told.infer))
    except InferrerBroken as error:
        return Description(code="", problem=str(error))


def _described(infer: str, target: object) -> Description:
    own = describe_target(infer, target)
    return Description(code=own.code and f"{_CODE} {own.code}", environment=own.environment, problem=own.problem)


def _told(params: Mapping[str, Value]) -> Columns:
    try:
        return msgspec.convert(dict(params), Columns)
    except msgspec.ValidationError as error:
        raise InferrerBroken(f"The inferrer `columns` is made by Pipeline(slices=…), not by hand: {error}.") from error


def _table(file: Path, owner: str, *, columns: Sequence[str]) -> pa.Table:
    """The file of a slice (Arrow), or of what a stage said of it (Parquet)."""
    if owner == SLICE:
        with pa.memory_map(str(file)) as mapped:
            return pa.ipc.open_file(mapped).read_all()
    with pq.ParquetFile(file) as opened:
        names = [name for name in opened.schema_arrow.names if name in columns or name.startswith("_")]
        return opened.read(names)


def _column(found: "ChunkedCells | None", count: int, *, as_list: bool) -> Column:
    """A column as it is handed over: an array of numbers, rows × numbers where each row has as many, or a list."""
    if found is None:
        return [None] * count
    whole = pa.concat_arrays(found.chunks)
    kind = whole.type
    if as_list or (whole.null_count and not pa.types.is_floating(kind)):
        return whole.to_pylist()
    if pa.types.is_fixed_size_list(kind) and not whole.null_count:
        return pc.list_flatten(whole).to_numpy(zero_copy_only=False).reshape(count, kind.list_size)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return whole.to_numpy(zero_copy_only=False)
    return whole.to_pylist()


def _at(column: Column, rows: npt.NDArray[np.int64]) -> Column:
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows.tolist()]


def _lists(infer: str, call: Callable[..., object], *, reads: Sequence[str], given: set[str]) -> set[str]:
    """The inputs that are wanted as lists; the parameters of *call* and the reads must agree."""
    takes = inspect.signature(call).parameters
    unknown = [name for name in reads if name not in takes]
    if unknown:
        raise InferrerBroken(f"{infer} takes no input {', '.join(unknown)}; it takes: {', '.join(takes)}.")
    bare = {n for n, p in takes.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    missing = sorted(bare - set(reads) - given)
    if missing:
        raise InferrerBroken(f"{infer} takes {', '.join(missing)}, which its stage neither reads nor sets.")
    return {
        name for name in reads if str(inspect.formatannotation(takes[name].annotation)).lstrip("'\"").startswith("list")
    }


def _whose(owner: str) -> str:
    return "the table" if owner == SLICE else f"stage {owner}"
