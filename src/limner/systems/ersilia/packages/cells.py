"""What a package answered, checked and by column: numbers, words and what has no value."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.packages.base import OutputRefused

#: One column: float64, int64 or objects that are text; masked where there is no value.
#: NumPy's masked arrays are generic over shape and type, which says nothing here.
Strip: TypeAlias = "np.ma.MaskedArray[Any, Any]"
#: Integers beyond this do not fit into 64 bits.
_TOO_LARGE = 2.0**63


class Cells(Struct, frozen=True, kw_only=True):
    """The answer of one call, whose columns are those of the package and whose rows are those of its input."""

    columns: tuple[Column, ...]
    strips: tuple[Strip, ...]
    #: By row, why it cannot be taken: a cell of another type, or no value at all.
    refused: dict[int, OutputRefused]

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """Every row, refused ones too; None where there is no value."""
        return zip(*(strip.tolist() for strip in self.strips), strict=True)

    def __len__(self) -> int:
        return len(self.strips[0])


def cells_of(strips: Sequence[Strip], *, columns: tuple[Column, ...], wrong: dict[int, list[str]]) -> Cells:
    """Checked columns with what is *wrong* by row; a row without any value is refused, too."""
    refused = {row: OutputRefused("bad_type", "; ".join(told) + ".") for row, told in sorted(wrong.items())}
    filled = np.zeros(len(strips[0]), dtype=np.int64)
    for strip in strips:
        filled += ~np.ma.getmaskarray(strip)
    for row in np.flatnonzero(filled == 0).tolist():
        if row not in refused:
            refused[row] = OutputRefused("no_output", "the model answered with no value.")
    return Cells(columns=columns, strips=tuple(strips), refused=refused)


def cells_of_rows(answer: object, *, columns: tuple[Column, ...], count: int) -> Cells:
    """
    What an in-process function answered to *count* molecules: an array of rows, or a sequence of them.

    Raises:
        OutputRefused: ``misaligned`` or ``bad_columns``, of which no row can be told apart.
    """
    if isinstance(answer, np.ndarray):
        _refuse_shape(answer.shape, columns=columns, count=count)
        # Column after column in memory, as they are looked at from here on.
        given: list[object] = list(np.ascontiguousarray(answer.T))
    else:
        rows = list(answer) if isinstance(answer, Sequence) else []
        _refuse_shape((len(rows),), columns=columns, count=count)
        widths = {len(row) for row in rows}
        if widths - {len(columns)}:
            raise OutputRefused(
                "bad_columns", f"a row has {max(widths)} cells, and {len(columns)} columns are declared"
            )
        given = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in columns]
    wrong: dict[int, list[str]] = {}
    strips = [_strip(values, column=column, wrong=wrong) for column, values in zip(columns, given, strict=True)]
    return cells_of(strips, columns=columns, wrong=wrong)


def number_strip(values: "npt.NDArray[np.generic]", *, column: Column, wrong: dict[int, list[str]]) -> Strip:
    """Numbers as a column keeps them: what is not finite is no value, and 1.5 is no integer."""
    if np.issubdtype(values.dtype, np.integer) or values.dtype == np.bool_:
        kind = np.int64 if column.type is ColumnType.INTEGER else np.float64
        return np.ma.masked_array(values.astype(kind), mask=np.zeros(len(values), dtype=bool))
    floats = values.astype(np.float64)
    empty = ~np.isfinite(floats)
    if column.type is ColumnType.FLOAT:
        return np.ma.masked_array(np.where(empty, 0.0, floats), mask=empty)
    filled = np.where(empty, 0.0, floats)
    odd = (filled != np.floor(filled)) | (np.abs(filled) >= _TOO_LARGE)
    for row in np.flatnonzero(odd).tolist():
        wrong.setdefault(row, []).append(f"column {column.name} holds {floats[row]:g}, which is no integer")
    return np.ma.masked_array(np.where(odd, 0.0, filled).astype(np.int64), mask=empty | odd)


def _strip(values: object, *, column: Column, wrong: dict[int, list[str]]) -> Strip:
    """One column of an in-process answer."""
    if isinstance(values, np.ndarray) and column.type is not ColumnType.STRING and values.dtype != np.object_:
        return number_strip(values, column=column, wrong=wrong)
    cells = list(values) if isinstance(values, np.ndarray | list) else []
    kept = [_kept(cell, row=row, column=column, wrong=wrong) for row, cell in enumerate(cells)]
    empty = np.array([cell is None for cell in kept], dtype=bool)
    kinds = {ColumnType.FLOAT: np.float64, ColumnType.INTEGER: np.int64, ColumnType.STRING: np.object_}
    blank: Cell = "" if column.type is ColumnType.STRING else 0
    filled: npt.NDArray[np.generic] = np.array(
        [blank if cell is None else cell for cell in kept], dtype=kinds[column.type]
    )
    return np.ma.masked_array(filled, mask=empty)


def _kept(cell: object, *, row: int, column: Column, wrong: dict[int, list[str]]) -> Cell:
    """One cell as its column keeps it; None for no value, and for what is noted as *wrong*."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)) or cell == "":
        return None
    if column.type is ColumnType.STRING and isinstance(cell, str):
        return cell
    if column.type is not ColumnType.STRING and isinstance(cell, int | float):
        if column.type is ColumnType.FLOAT:
            return float(cell)
        if cell == int(cell) and abs(cell) < _TOO_LARGE:
            return int(cell)
    kind = "text" if column.type is ColumnType.STRING else f"{column.type}"
    wrong.setdefault(row, []).append(f"column {column.name} holds {str(cell)[:50]!r}, which is no {kind}")
    return None


def _refuse_shape(shape: tuple[int, ...], *, columns: tuple[Column, ...], count: int) -> None:
    if shape[0] != count:
        raise OutputRefused("misaligned", f"{shape[0]} rows came for {count} molecules")
    if len(shape) == 2 and shape[1] != len(columns):
        raise OutputRefused("bad_columns", f"{shape[1]} columns came, and {len(columns)} are declared")
