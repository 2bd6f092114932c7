"""What was answered for the rows of a slice: columns that are checked, and the rows that failed or were skipped."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from limner.domain.failures import FailureCode
from limner.domain.outputs import AnyOutput, Number, Vector
from limner.domain.slicing import FAILED, ID, MESSAGE, SKIPPED
from limner.domain.values import Value, finite
from limner.inferrers.base import OutputsMiscounted

_UPSTREAM = FailureCode.UPSTREAM_FAILED

#: What an inferrer answers with for one output: numbers, or anything, a row each.
Column: TypeAlias = "npt.NDArray[np.generic] | list[Value]"
#: A column as Arrow holds it.
Cells: TypeAlias = "pa.Array[Value]"
ChunkedCells: TypeAlias = "pa.ChunkedArray[Value]"
#: A column in either form.
AnyCells: TypeAlias = "pa.Array[Value] | pa.ChunkedArray[Value]"


class Rows:
    """The rows of a slice: their ids, and which of them are not to be inferred, and why."""

    def __init__(self, ids: ChunkedCells) -> None:
        self.ids = ids
        self.count = len(ids)
        #: Why a row failed, by its place.
        self.failures: dict[int, tuple[FailureCode, str]] = {}
        self.reasons: dict[int, str] = {}

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return len(self.failures)

    @property
    def skipped(self) -> int:
        """Rows that were skipped."""
        return len(self.reasons)

    def skip(self, mask: npt.NDArray[np.bool_], *, reason: str) -> None:
        """Skip the rows of *mask* that are open still."""
        for row in np.flatnonzero(mask).tolist():
            if row not in self.failures:
                self.reasons.setdefault(row, reason)

    def follow(self, table: pa.Table, *, stage: str) -> None:
        """Fail the rows that failed in an earlier stage, and skip those that were skipped there."""
        for row, code in _filled(table.column(FAILED)):
            self.reasons.pop(row, None)
            self.failures.setdefault(row, (_UPSTREAM, f"Stage {stage} failed: {code}."))
        for row, reason in _filled(table.column(SKIPPED)):
            if row not in self.failures:
                self.reasons.setdefault(row, str(reason))

    def open(self) -> npt.NDArray[np.int64]:
        """The places of the rows that are to be inferred."""
        if not self.failures and not self.reasons:
            return np.arange(self.count)
        away = np.fromiter((*self.failures, *self.reasons), dtype=np.int64)
        return np.setdiff1d(np.arange(self.count), away)


class Answered:
    """The answers for a slice, part by part in any order."""

    def __init__(self, outputs: Mapping[str, AnyOutput]) -> None:
        """*outputs* are those that the stage declares; without any, each answer says what it has."""
        self._outputs = outputs
        self._parts: list[tuple[npt.NDArray[np.int64], dict[str, Cells]]] = []
        self._failures: dict[int, tuple[FailureCode, str]] = {}

    def take(self, rows: npt.NDArray[np.int64], answer: object) -> None:
        """
        Check what was answered for *rows*.

        Raises:
            OutputsMiscounted: it has more or fewer rows, or names outputs that are not declared.
        """
        columns, broken = self._columns(rows, answer)
        self._refuse_names(columns)
        wrong = {row: (FailureCode.MODEL_ERROR, told) for row, told in broken.items()}
        for name in self._outputs or columns:
            column = columns.get(name)
            output = self._outputs.get(name)
            if column is None:
                if output is not None and not output.optional:
                    raise OutputsMiscounted(f"The answer lacks {name}, which the stage declares.")
                continue
            if len(column) != len(rows):
                raise OutputsMiscounted(f"{name} has {len(column)} rows for {len(rows)}.")
            for at, told in _problems(column, output).items():
                if at not in wrong:
                    wrong[at] = (FailureCode.OUTPUT_INVALID, f"{name} {told}.")
        self._failures.update((int(rows[at]), said) for at, said in wrong.items())
        mask = np.zeros(len(rows), dtype=bool)
        mask[list(wrong)] = True
        self._parts.append((rows, {name: _kept(column, mask) for name, column in columns.items()}))

    def fail(self, row: int, code: FailureCode, message: str) -> None:
        """Fail one row."""
        self._failures[row] = (code, message)

    def table(self, rows: Rows) -> pa.Table:
        """All rows of the slice in their order, those that have no answer with null; *rows* is told what failed."""
        rows.failures.update(self._failures)
        columns: dict[str, AnyCells] = {ID: rows.ids}
        columns.update(self._placed(rows.count))
        columns[FAILED] = _sparse({row: str(code) for row, (code, _) in rows.failures.items()}, rows.count)
        columns[MESSAGE] = _sparse({row: told for row, (_, told) in rows.failures.items()}, rows.count)
        columns[SKIPPED] = _sparse(rows.reasons, rows.count)
        return pa.table(columns)

    def _placed(self, count: int) -> dict[str, AnyCells]:
        """Each output's column over the whole slice."""
        names = list(dict.fromkeys(name for _, part in self._parts for name in part))
        if len(self._parts) == 1 and len(self._parts[0][0]) == count:
            return dict(self._parts[0][1])
        at = np.full(count, -1, dtype=np.int64)
        start = 0
        for rows, _ in self._parts:
            at[rows] = np.arange(start, start + len(rows))
            start += len(rows)
        places = pc.cast(pa.array(at, mask=at < 0), pa.int64())
        return {
            name: pa.chunked_array(
                [part[name] if name in part else pa.nulls(len(rows)) for rows, part in self._parts]
            ).take(places)
            for name in names
        }

    def _columns(self, rows: npt.NDArray[np.int64], answer: object) -> tuple[dict[str, Column], dict[int, str]]:
        """The answer as columns by output; by its place, each row that was answered with an exception."""
        if isinstance(answer, np.ndarray):
            return {self._only(): answer}, {}
        if isinstance(answer, Mapping):
            return {
                str(name): column if isinstance(column, np.ndarray) else list(column) for name, column in answer.items()
            }, {}
        if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
            raise OutputsMiscounted(f"The answer is a {type(answer).__name__}; answer with an array, a dict or a list.")
        if len(answer) != len(rows):
            raise OutputsMiscounted(f"The answer has {len(answer)} rows for {len(rows)}.")
        broken = {at: f"{type(one).__name__}: {one}" for at, one in enumerate(answer) if isinstance(one, Exception)}
        plain = [{} if at in broken else _named(one, self._only) for at, one in enumerate(answer)]
        names = list(dict.fromkeys(name for one in plain for name in one)) or list(self._outputs)
        return {name: [one.get(name) for one in plain] for name in names}, broken

    def _only(self) -> str:
        """The output that an answer without names is."""
        if len(self._outputs) > 1:
            raise OutputsMiscounted(f"The answer names no outputs; the stage declares {', '.join(self._outputs)}.")
        return next(iter(self._outputs), "value")

    def _refuse_names(self, columns: Mapping[str, object]) -> None:
        unknown = [name for name in columns if self._outputs and name not in self._outputs]
        if unknown:
            raise OutputsMiscounted(f"The answer names {', '.join(unknown)}, which the stage does not declare.")


def _named(one: object, only: Callable[[], str]) -> dict[str, Value]:
    return {str(name): value for name, value in one.items()} if isinstance(one, dict) else {only(): one}


def _problems(column: Column, output: AnyOutput | None) -> dict[int, str]:
    """By place: what is wrong there, as the end of a sentence."""
    if isinstance(column, np.ndarray) and (output is None or isinstance(output, Number | Vector)):
        wrong = np.flatnonzero(_suspect(column, output)).tolist()
        told = ((at, _said(column[at], output)) for at in wrong)
        return {at: said for at, said in told if said is not None}
    return {at: said for at, value in enumerate(column) if (said := _said(value, output)) is not None}


def _suspect(column: npt.NDArray[np.generic], output: AnyOutput | None) -> npt.NDArray[np.bool_]:
    """The places of an array that must be looked at one by one; none in most."""
    if not np.issubdtype(column.dtype, np.number):
        return np.ones(len(column), dtype=bool)
    numbers = column.reshape(len(column), -1)
    bad: npt.NDArray[np.bool_] = ~np.isfinite(numbers).all(axis=1)
    if isinstance(output, Number):
        bad |= np.full(len(column), column.ndim != 1)
        if output.whole:
            bad |= (numbers != np.floor(numbers)).any(axis=1)
        for limit, beyond in ((output.least, np.less), (output.most, np.greater), (output.above, np.less_equal)):
            if limit is not None:
                bad |= beyond(numbers, limit).any(axis=1)
    if isinstance(output, Vector):
        bad |= np.full(len(column), column.ndim != 2 or output.length not in (None, numbers.shape[1]))
        if output.unit:
            bad |= np.abs(np.linalg.norm(numbers.astype(np.float64), axis=1) - 1.0) > 1e-3
    return bad


def _said(value: Value, output: AnyOutput | None) -> str | None:
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        if output is None or output.optional:
            return None
        return "is missing, and is not declared optional"
    if output is not None:
        return output.problem(value)
    return None if finite(value) else "holds a number that is not finite"


def _kept(column: Column, wrong: npt.NDArray[np.bool_]) -> Cells:
    """A column as it is kept: null where it is wrong, or is no number."""
    cells: Cells
    if not isinstance(column, np.ndarray):
        cells = pa.array([None if bad else value for value, bad in zip(column, wrong.tolist(), strict=True)])
    elif column.ndim == 1:
        missing = np.isnan(column) if np.issubdtype(column.dtype, np.floating) else False
        cells = pa.array(column, mask=wrong | missing)
    else:
        flat = pa.array(np.ascontiguousarray(column).reshape(-1))
        cells = pa.FixedSizeListArray.from_arrays(flat, column.shape[1], mask=pa.array(wrong))
    return cells


def _sparse(found: Mapping[int, str], count: int) -> Cells:
    """A column of text that is null nearly everywhere."""
    if not found:
        return pa.nulls(count, pa.string())
    return pa.array([found.get(row) for row in range(count)], pa.string())


def _filled(column: ChunkedCells) -> list[tuple[int, Value]]:
    """The places of a column that are not null, and what stands there."""
    if column.null_count == len(column):
        return []
    places = np.flatnonzero(pc.is_valid(column).to_numpy(zero_copy_only=False)).tolist()
    return [(place, column[place].as_py()) for place in places]
