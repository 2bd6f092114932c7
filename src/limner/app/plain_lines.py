"""
Reads lines of plain JSON as records: ``limner.app.plain_lines:images`` is the reader into the collection ``images``.

A manifest names its reader as ``package.module:function`` and is read on after a restart, so the collection stands in
that name.
"""

from collections.abc import Callable, Iterator
from typing import IO

import msgspec

from limner.domain.records import RecordIn, SetAside
from limner.sources.base import Columns
from limner.sources.jsonl import JsonLines, Reader, row_of
from limner.sources.rows import record_of

#: Reader of lines that :func:`encoded` wrote.
ENCODED = "limner.app.plain_lines:decoded"
_encoder = msgspec.json.Encoder()
_record = msgspec.json.Decoder(RecordIn)
_aside = msgspec.json.Decoder(SetAside)


def reader_of(shape: Reader | None = None, *, columns: Columns | None = None) -> Reader:
    """How one JSON object becomes records: by a system's shape, or by its own names."""
    if shape is not None:
        return shape
    named = columns or Columns()
    return lambda row, collection: [record_of(row, collection=collection, columns=named)]


def rows_in(stream: IO[bytes], *, collection: str, reader: Reader) -> Iterator[RecordIn | SetAside]:
    """The records of a stream of JSON Lines, and the lines that are none."""
    for page in JsonLines(stream, collection=collection, reader=reader).read(page=2000):
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
    reader = reader_of()

    def read(line: bytes, row: int) -> RecordIn | SetAside:
        found = row_of(line, row=row, collection=collection, reader=reader)
        return found if isinstance(found, SetAside) else found.records[-1]

    return read
