"""Vectors in a flat file that many processes map into memory, and the exact comparison with one of them."""

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from limner.errors import SearchUnavailable, UsageError

Numbers: TypeAlias = npt.NDArray[np.float32]
Slots: TypeAlias = npt.NDArray[np.int64]
Scores: TypeAlias = npt.NDArray[np.float64]

#: Numbers that are compared at a time: they stay in the processor's cache, and linear algebra libraries do not split
#: so small a product among threads, which costs tens of milliseconds where the processor is busy.
_AT_A_TIME = 131_072
#: More than a product in single precision may be wrong by.
_DOUBT = 1e-5


def unit(vector: object, *, path: str, whose: str) -> Numbers:
    """
    *vector* as float32 of length 1, so that a product is a cosine; all zeros stay zeros, alike to nothing.

    Raises:
        UsageError: it is no one-dimensional array of finite numbers.
    """
    try:
        numbers = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path} of {whose} is no array of numbers.") from error
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise UsageError(f"{path} of {whose} is no one-dimensional array of finite numbers.")
    norm = float(np.linalg.norm(numbers))
    return (numbers / norm if norm > 0 else numbers).astype(np.float32)


class VectorFile:
    """Float32 rows of one length, by slot; a row that was committed is never written again."""

    def __init__(self, file: Path, *, length: int) -> None:
        self._file = file
        self._length = length
        self._rows: Numbers = np.empty((0, length), dtype=np.float32)

    def write(self, rows: Numbers, *, first: int) -> None:
        """Put *rows* into the slots from *first* on; they are sure once :meth:`settle` returned."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            data = memoryview(rows.astype("<f4").tobytes())
            position = first * self._length * 4
            while data:
                written = os.pwrite(descriptor, data, position)
                data, position = data[written:], position + written
        finally:
            os.close(descriptor)

    def settle(self) -> None:
        """Return when everything written has reached the disk."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rows(self, count: int) -> Numbers:
        """
        The slots below *count*, mapped into memory.

        Raises:
            SearchUnavailable: the file is missing or too short.
        """
        if len(self._rows) < count:
            try:
                held = self._file.stat().st_size // (4 * self._length)
                if held < count:
                    raise SearchUnavailable(f"{self._file} holds {held} vectors of {count}; rebuild the index.")
                self._rows = np.asarray(np.memmap(self._file, dtype="<f4", mode="r", shape=(held, self._length)))
            except OSError as error:
                raise SearchUnavailable(f"{self._file} cannot be read: {error}; rebuild the index.") from error
        return self._rows[:count]


def best(rows: Numbers, *, slots: Slots, query: Numbers, count: int) -> tuple[Slots, Scores]:
    """
    The slots that may be among the *count* most alike to *query*, with their cosines, in no order.

    A fast product in single precision finds the candidates with a margin. Their scores are then computed row by row
    in double precision, each in the same order of additions, so that equal vectors have equal scores wherever they
    stand: a matrix product does not promise that in the last bit.
    """
    if len(slots) > count > 0:
        rough = _products(rows, slots=slots, query=query)
        edge = np.partition(rough, len(slots) - count)[len(slots) - count]
        slots = slots[rough >= edge - _DOUBT]
    wide = query.astype(np.float64)
    step = max(1, _AT_A_TIME // len(query))
    parts = [
        np.einsum("ij,j->i", rows[slots[at : at + step]].astype(np.float64), wide) for at in range(0, len(slots), step)
    ]
    return slots, np.concatenate(parts) if parts else np.empty(0)


def _products(rows: Numbers, *, slots: Slots, query: Numbers) -> Numbers:
    """The products of *query* with the rows in *slots*; reads straight through where most rows are wanted."""
    step = max(1, _AT_A_TIME // len(query))
    if len(slots) * 3 > len(rows):
        return np.concatenate([rows[at : at + step] @ query for at in range(0, len(rows), step)])[slots]
    return np.concatenate([rows[slots[at : at + step]] @ query for at in range(0, len(slots), step)])
