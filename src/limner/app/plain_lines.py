"""
Reads lines of plain JSON as records: ``limner.app.plain_lines:images`` is the reader into the collection ``images``.

A manifest names its reader as ``package.module:function`` and is read on after a restart, so the collection stands in
that name.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import IO

import msgspec
from msgspec import structs

from limner.domain.records import RecordIn, SetAside, Shape
from limner.sources.base import Columns
from limner.sources.connect import connect_source

#: Reader of lines that :func:`encoded` wrote.
ENCODED = "limner.app.plain_lines:decoded"
_encoder = msgspec.json.Encoder()
_record = msgspec.json.Decoder(RecordIn)
_aside = msgspec.json.Decoder(SetAside)


def rows_in(
    stream: IO[bytes],
    *,
    collection: str,
    shape: str | None = None,
    shapes: Mapping[str, Shape] | None = None,
    parents: str | None = None,
) -> Iterator[RecordIn | SetAside]:
    """The records of a stream of JSON Lines, and the lines that are none; *parents* is the parents' collection."""
    source = connect_source(
        "-",
        collection=collection,
        shape=shape,
        shapes=shapes or {},
        columns=Columns(parent_collection=parents),
        standard_input=stream,
    )
    for page in source.read(page=2000):
        yield from page


def encoded(row: RecordIn | SetAside) -> bytes:
    """*row* as a line that :func:`decoded` reads."""
    return _encoder.encode(row) + b"\n"


def decoded(line: bytes, row: int) -> RecordIn | SetAside:
    """The row that :func:`encoded` wrote; where it stood is written in it."""
    try:
        return _record.decode(line)
    except msgspec.ValidationError:
        return _aside.decode(line)


def __getattr__(collection: str) -> Callable[[bytes, int], RecordIn | SetAside]:
    """The reader of lines into *collection*."""
    if collection.startswith("__"):
        raise AttributeError(collection)
    feed = _Feed()
    rows = connect_source("-", collection=collection, standard_input=feed).rows()

    def read(line: bytes, row: int) -> RecordIn | SetAside:
        feed.line = line
        found = next(rows)
        return structs.replace(found, row=row) if isinstance(found, SetAside) else found.records[-1]

    return read


class _Feed(io.BytesIO):
    """A stream that is handed its lines one by one, so that one reader judges all of them."""

    line = b""

    def readline(self, size: int | None = -1) -> bytes:
        """The line that was handed over."""
        line, self.line = self.line, b""
        return line
