"""Source of CSV: a header, then rows of text; a bad byte, a stray quote or a ragged row costs that row."""

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from limner.domain.records import NotARecord, SetAside
from limner.errors import UsageError
from limner.sources.base import Columns, Found, Source, aside, checked
from limner.sources.lines import MAX_LINE, numbered_lines, open_bytes
from limner.sources.rows import record_of

#: A quoted cell may run over this many lines; beyond them its quote counts as one that was never closed.
MAX_LINES = 2_000

_Line = tuple[int, str | None]


class _Unclosed(Exception):
    """A quote is still open where the row has to end."""


class CsvFile(Source):
    """A CSV (or TSV) file; every cell is text, an empty cell is no value, a blank line is no row."""

    def __init__(self, path: Path, *, collection: str, columns: Columns) -> None:
        super().__init__(collection=collection)
        self._path = path
        self._columns = columns
        self._delimiter = "\t" if ".tsv" in path.suffixes else ","

    def describe(self) -> str:
        """What it is, for a person."""
        return f"CSV from {self._path}"

    def rows(self) -> Iterator[Found | SetAside]:
        """
        Every row below the header, numbered by the line it starts at.

        Raises:
            UsageError: there is no usable header.
        """
        # The library's limit is one for the whole process and lower than a work's full text.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
        with open_bytes(self._path) as stream:
            cells = _Cells(numbered_lines(stream, name=str(self._path)), delimiter=self._delimiter)
            header: list[str] | None = None
            for number, row, problem in cells:
                if header is None:
                    header = self._header(row, problem=problem)
                    cells.width = len(header)
                elif problem:
                    yield aside(number, problem, text=self._delimiter.join(row))
                else:
                    yield self._row(number, row, header=header)

    def _header(self, row: list[str], *, problem: str | None) -> list[str]:
        names = [cell.strip() for cell in row]
        if problem:
            raise UsageError(f"{self._path} has no readable header: {problem}")
        if self._columns.id not in names:
            hint = " It looks separated by ';'; save it with commas." if ";" in row[0] else ""
            raise UsageError(f"{self._path} has no column {self._columns.id}; it has: {', '.join(names)}.{hint}")
        if "" in names or len(set(names)) < len(names):
            raise UsageError(f"{self._path} needs a header of different names; it has: {', '.join(names)}.")
        return names

    def _row(self, number: int, row: list[str], *, header: list[str]) -> Found | SetAside:
        text = self._delimiter.join(row)
        if len(row) != len(header):
            return aside(number, f"It has {len(row)} cells where the header has {len(header)}.", text=text)
        named = {name: cell for name, cell in zip(header, row, strict=True) if cell}
        try:
            record = record_of(named, collection=self.collection, columns=self._columns)
            return Found(row=number, records=checked([record]), excerpt=text[:200])
        except NotARecord as error:
            return aside(number, str(error), text=text)


class _Cells:
    """
    Rows of cells with the line each starts at and what is wrong with it, by the rules of Python's csv module.

    Where a quote is never closed, or a row over several lines turns out ragged, only its first line is given up and
    the others are read again, so that a stray quote does not swallow its neighbours.
    """

    def __init__(self, lines: Iterator[tuple[int, bytes | None]], *, delimiter: str) -> None:
        self._lines = lines
        self._again: deque[_Line] = deque()
        self._pending: list[_Line] = []
        self._delimiter = delimiter
        self._reader = csv.reader(_Feed(self), delimiter=delimiter)
        #: Cells that a row should have, once the header is known.
        self.width: int | None = None

    def __iter__(self) -> Iterator[tuple[int, list[str], str | None]]:
        while (line := self._take()) is not None:
            number, text = line
            if text is None:
                yield number, [], f"The line is longer than {MAX_LINE} bytes."
            elif text.strip("\r\n"):
                self._again.appendleft(line)
                yield (number, *self._row())

    def line(self) -> str:
        """
        The next line of the row being read (called by the csv module).

        Raises:
            _Unclosed: the row has no further line.
        """
        line = self._take() if len(self._pending) < MAX_LINES else None
        if line is None or line[1] is None:
            self._again.extendleft([line] if line else [])
            raise _Unclosed
        self._pending.append(line)
        return line[1]

    def _row(self) -> tuple[list[str], str | None]:
        self._pending = []
        try:
            row = next(self._reader)
        except _Unclosed:
            return self._give_up("A quote is opened and never closed.")
        except csv.Error as error:
            return self._give_up(f"It is no CSV: {error}.")
        if len(self._pending) > 1 and not self._sound(row):
            return self._give_up("A quote is opened and never closed in its row.")
        return row, _damage(row)

    def _sound(self, row: list[str]) -> bool:
        """Whether a row over several lines is one: not ragged, and no text right behind a closing quote."""
        if self.width is not None and len(row) != self.width:
            return False
        lines = [text for _, text in self._pending if text is not None]
        try:
            return len(list(csv.reader(lines, delimiter=self._delimiter, strict=True))) == 1
        except csv.Error:
            return False

    def _give_up(self, problem: str) -> tuple[list[str], str]:
        """Only the first line of the row is bad; the rest is read again."""
        first, *rest = self._pending
        self._again.extendleft(reversed(rest))
        return [(first[1] or "").rstrip("\r\n")], problem

    def _take(self) -> _Line | None:
        if self._again:
            return self._again.popleft()
        number, data = next(self._lines, (0, None))
        if number == 0:
            return None
        return number, None if data is None else data.decode("utf-8", errors="surrogateescape")


class _Feed:
    """Hands lines to the csv module; an iterator that goes on after it raised."""

    def __init__(self, cells: _Cells) -> None:
        self._cells = cells

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        return self._cells.line()


def _damage(row: list[str]) -> str | None:
    """What is wrong with the characters of *row*."""
    text = "".join(row)
    if "\0" in text:
        return "It holds NUL bytes."
    return "It is not UTF-8." if any("\udc80" <= c <= "\udcff" for c in text) else None
