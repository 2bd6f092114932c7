"""Sources of JSON: one object a line, from a file or a stream, and whole JSON files."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TypeAlias

import msgspec

from limner.domain.records import NotARecord, RecordIn, SetAside
from limner.domain.values import Value
from limner.errors import UsageError
from limner.sources.base import Found, Source, aside, checked
from limner.sources.lines import MAX_LINE, numbered_lines, open_bytes

#: From one object and the collection being filled to its records, its own last; raises NotARecord.
Reader: TypeAlias = Callable[[Mapping[str, Value], str], list[RecordIn]]

#: Bytes of a JSON file that is read whole.
MAX_JSON = 256 * 1024 * 1024


class JsonLines(Source):
    """A file or stream with one JSON object a line; blank lines are no rows."""

    def __init__(self, place: Path | IO[bytes], *, collection: str, reader: Reader) -> None:
        super().__init__(collection=collection)
        self._place = place
        self._reader = reader
        self.repeatable = isinstance(place, Path)

    def describe(self) -> str:
        """What it is, for a person."""
        return f"JSON Lines from {self._name}"

    def rows(self) -> Iterator[Found | SetAside]:
        """Every line that is not blank."""
        if not isinstance(self._place, Path):
            yield from self._of(self._place)
            return
        with open_bytes(self._place) as stream:
            yield from self._of(stream)

    @property
    def _name(self) -> str:
        return str(self._place) if isinstance(self._place, Path) else "standard input"

    def _of(self, stream: IO[bytes]) -> Iterator[Found | SetAside]:
        for number, line in numbered_lines(stream, name=self._name):
            if line is None:
                yield aside(number, f"The line is longer than {MAX_LINE} bytes.")
            elif line.strip():
                yield row_of(line, row=number, collection=self.collection, reader=self._reader)


class JsonFile(Source):
    """A whole JSON file: one object, or a list of them; a row number is the place in the list, from 1."""

    def __init__(self, path: Path, *, collection: str, reader: Reader) -> None:
        super().__init__(collection=collection)
        self._path = path
        self._reader = reader

    def describe(self) -> str:
        """What it is, for a person."""
        return f"JSON from {self._path}"

    def rows(self) -> Iterator[Found | SetAside]:
        """
        Every object of the file.

        Raises:
            UsageError: it is no JSON, or too large to be read whole.
        """
        with open_bytes(self._path) as stream:
            data = stream.read(MAX_JSON + 1)
        if len(data) > MAX_JSON:
            raise UsageError(f"{self._path} is larger than {MAX_JSON} bytes; write it as JSON Lines, an object a line.")
        data = data.removeprefix(b"\xef\xbb\xbf").strip()
        try:
            parts = msgspec.json.decode(data if data.startswith(b"[") else b"[%b]" % data, type=list[msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"{self._path} is no JSON: {error}.") from error
        for number, part in enumerate(parts, start=1):
            yield row_of(bytes(part), row=number, collection=self.collection, reader=self._reader)


def row_of(data: bytes, *, row: int | str, collection: str, reader: Reader) -> Found | SetAside:
    """The records of one JSON object, or the row set aside with the reason."""
    text = data[:800].decode(errors="replace").strip()
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return aside(row, f"It is no JSON: {error}.", text=text)
    if not isinstance(value, dict):
        return aside(row, f"It is a JSON {type(value).__name__}, no object.", text=text)
    try:
        records = checked(reader(value, collection))
    except NotARecord as error:
        return aside(row, str(error), text=text)
    return Found(row=row, records=records, excerpt=text[:200])
