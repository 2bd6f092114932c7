"""Sink of JSON Lines: the exact copy, or a system's own shape."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeAlias, cast

import msgspec

from limner.domain.records import ExportRow
from limner.domain.values import Value, plain
from limner.sinks.base import FileSink
from limner.sinks.layout import Layout

#: Says of a line that its fields stand apart from what Limner adds; sources read such lines back.
ENVELOPE = "record/1"

#: From a row to the object of its line; raises NotARecord.
Writer: TypeAlias = Callable[[ExportRow], dict[str, Value]]


class JsonLines(FileSink):
    """
    One object a line: ``limner, collection, id, fields``, where known ``parent, revision, source_version``, and by
    stage ``values`` and ``provenance``; arrays as lists, bytes as hexadecimal text.

    A source reads back exactly the record; values are results, which are inferred and never taken in. With a *writer*
    each line is what that makes of the row instead. A path that ends in ``.gz`` is packed.
    """

    def __init__(self, path: Path, *, writer: Writer | None = None) -> None:
        super().__init__(path)
        self._writer = writer or envelope
        self._packed = path.suffix == ".gz"
        self._encoder = msgspec.json.Encoder()

    def describe(self) -> str:
        """What it is, for a person."""
        return f"JSON Lines to {self._path}"

    def _begin(self, path: Path, *, layout: Layout) -> None:
        # No time in the header, so that the same rows make the same bytes.
        self._raw = path.open("wb")
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0) if self._packed else self._raw
        self._file = cast(IO[bytes], packed)

    def _take(self, rows: Sequence[ExportRow]) -> None:
        for row in rows:
            self._file.write(self._encoder.encode(plain(self._writer(row))) + b"\n")

    def _finish(self) -> None:
        self._file.close()
        self._raw.close()

    def _abandon(self) -> None:
        self._finish()


def envelope(row: ExportRow) -> dict[str, Value]:
    """*row* as one object; what is absent is left out."""
    record = row.record
    line: dict[str, Value] = {
        "limner": ENVELOPE,
        "collection": record.collection,
        "id": record.id,
        "parent": None if record.parent is None else {"collection": record.parent[0], "id": record.parent[1]},
        "revision": record.revision,
        "source_version": record.source_version,
    }
    line = {name: value for name, value in line.items() if value is not None} | {"fields": record.fields}
    if row.values:
        line["values"] = dict(row.values)
        line["provenance"] = {stage: msgspec.to_builtins(made) for stage, made in row.provenance.items()}
    return line
