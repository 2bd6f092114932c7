"""Sink of CSV: one row a record, for spreadsheets and for programs that know no other format."""

import base64
import csv
from collections.abc import Sequence
from pathlib import Path

import msgspec

from limner.domain.records import ExportRow
from limner.domain.values import Value, plain
from limner.sinks.base import FileSink
from limner.sinks.layout import Column, Kind, Layout, value_at

#: A spreadsheet takes text that starts so for a formula, which may fetch addresses or start programs.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class CsvFile(FileSink):
    """
    UTF-8, comma, CRLF, minimal quotes (RFC 4180), one header; absent values are empty cells.

    A vector is base64 of its little-endian float32 numbers, in a column whose name ends in ``_b64``: exact, and short
    enough for a spreadsheet's cell, which 4,096 decimal numbers are not. Bytes are hexadecimal; lists and nested
    values are JSON. Text that a spreadsheet would take for a formula gets an apostrophe before it, unless it is a
    plain number; *formulas* leaves it as it is. For an exact copy take JSON Lines or Parquet.
    """

    def __init__(self, path: Path, *, formulas: bool = False) -> None:
        super().__init__(path)
        self._formulas = formulas

    def describe(self) -> str:
        """What it is, for a person."""
        return f"CSV to {self._path}"

    def _begin(self, path: Path, *, layout: Layout) -> None:
        self._layout = layout
        self._columns = layout.columns()
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow([self._text(_name(column)) for column in self._columns])

    def _take(self, rows: Sequence[ExportRow]) -> None:
        for row in rows:
            self._layout.check(row)
            self._writer.writerow([self._cell(value_at(row, c.place), kind=c.kind) for c in self._columns])

    def _finish(self) -> None:
        self._file.close()

    def _abandon(self) -> None:
        self._file.close()

    def _cell(self, value: Value, *, kind: Kind) -> str:
        if value is None:
            return ""
        if kind is Kind.TEXT and isinstance(value, str):
            return self._text(value)
        if kind is Kind.VECTOR:
            return base64.b64encode(float32(value)).decode()
        if kind is Kind.BYTES and isinstance(value, bytes):
            return value.hex()
        return self._text(msgspec.json.encode(plain(value)).decode())

    def _text(self, text: str) -> str:
        if self._formulas or not text.startswith(_FORMULA) or _is_number(text):
            return text
        return f"'{text}"


def float32(vector: Value) -> bytes:
    """*vector* as little-endian float32 numbers."""
    import numpy as np

    return np.asarray(vector, dtype="<f4").tobytes()


def _name(column: Column) -> str:
    return f"{column.name}_b64" if column.kind is Kind.VECTOR else column.name


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and text.strip() == text
