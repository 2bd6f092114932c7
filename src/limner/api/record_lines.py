"""Bodies that are records: JSON Lines spooled to a file, judged line by line, ready for the engine."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fastapi import Request
from msgspec import Struct, structs

from limner.app.hosting import Host
from limner.app.plain_lines import ENCODED, encoded, rows_in
from limner.app.submitting import Manifest, Submission
from limner.domain.pipelines import Pipeline
from limner.domain.records import RecordIn, SetAside
from limner.errors import UsageError

#: Rows that are handed over as they are; more go through a file.
_AT_ONCE = 2_000
#: Rows that became no record which an answer lists; a job's errors hold all of them.
_LISTED = 1_000
_IN_MEMORY = 1_000_000


class RowAside(Struct, frozen=True, kw_only=True):
    """A line that became no record."""

    #: Number of the line, from 1.
    row: int | str
    code: str
    reason: str


class Taken(Struct, frozen=True, kw_only=True):
    """What was made of the lines of a body."""

    #: Records, and lines that became none.
    records: int
    set_aside: int
    #: The first of these lines.
    rows: list[RowAside]


async def spooled(request: Request) -> IO[bytes]:
    """The whole body, in memory while it is small and in a file beyond that; the caller closes it."""
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  whoever asked closes it
    try:
        async for piece in request.stream():
            spool.write(piece)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool


def submission(host: Host, ask: Submission, rows: Iterator[RecordIn | SetAside]) -> tuple[Submission, Taken]:
    """
    *ask* with *rows* in it, as they are or, where they are many, as a file among the artifacts.

    Raises:
        UsageError: there are none.
    """
    first: list[RecordIn | SetAside] = []
    for row in rows:
        first.append(row)
        if len(first) > _AT_ONCE:
            break
    count = _Count(first)
    if len(first) <= _AT_ONCE:
        if not first:
            raise UsageError("The body holds no records; send one JSON object a line.")
        return structs.replace(ask, rows=first), count.taken()
    with tempfile.NamedTemporaryFile(prefix="limner-records-") as file:
        file.writelines(map(encoded, first))
        for row in rows:
            count.add(row)
            file.write(encoded(row))
        file.flush()
        sha256 = host.app.artifacts.put_file(Path(file.name))
    return structs.replace(ask, manifest=Manifest(sha256=sha256, reader=ENCODED)), count.taken()


def lines_of(
    stream: IO[bytes], host: Host, *, pipeline: Pipeline, collection: str, shape: str | None
) -> Iterator[RecordIn | SetAside]:
    """
    The records of a body of JSON Lines.

    Raises:
        UsageError: there is no such shape.
    """
    shapes = host.app.shapes() if shape else {}
    parents = host.app.parents(pipeline, collection)
    return rows_in(stream, collection=collection, shape=shape, shapes=shapes, parents=parents)


class _Count:
    """Counts rows as they pass."""

    def __init__(self, first: list[RecordIn | SetAside]) -> None:
        self._records = 0
        self._aside = 0
        self._rows: list[RowAside] = []
        for row in first:
            self.add(row)

    def add(self, row: RecordIn | SetAside) -> None:
        """One more row."""
        if isinstance(row, RecordIn):
            self._records += 1
            return
        self._aside += 1
        if len(self._rows) < _LISTED:
            self._rows.append(RowAside(row=row.row, code=row.code.value, reason=row.reason))

    def taken(self) -> Taken:
        """What was counted."""
        return Taken(records=self._records, set_aside=self._aside, rows=self._rows)
