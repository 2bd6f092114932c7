"""What a door hands over as a job: its records or where they stand, what is wanted of them, and whom to tell."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct, field

from limner.app.declared import load_target
from limner.domain.pipelines import Choices
from limner.domain.records import RecordIn, SetAside
from limner.domain.values import Value

#: What Limner notes with a job for itself, beside what its client wants to be given back.
OWN_NOTES = frozenset({"manifest", "process", "stored"})
#: Reader of lines that are records as Limner itself writes them down.
RECORD_LINES = "limner.app.submitting:record_of_line"
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RecordIn)


class Reader(Protocol):
    """Makes a record of one line of a manifest; rows are counted from 1."""

    def __call__(self, line: bytes, row: int) -> RecordIn | SetAside:
        """The record, or why there is none."""


class Manifest(Struct, frozen=True, kw_only=True):
    """A list of records with one line each, to be read in the background."""

    #: Its bytes among the artifacts; else it is fetched from *url*.
    sha256: str | None = None
    url: str | None = None
    #: ``package.module:function``, a :class:`Reader`.
    reader: str = RECORD_LINES


class CallbackAsk(Struct, frozen=True, kw_only=True):
    """Where a job is to be reported."""

    url: str
    #: Sent back to the caller as it is; sealed before it is stored.
    token: str = ""
    #: ``end``, or ``stream``: as records finish.
    mode: str = "end"
    format: str = "limner"


class Key(Struct, frozen=True, kw_only=True):
    """An idempotency key, and the digest of the request that it came with."""

    key: str
    request: bytes


class Submission(Struct, frozen=True, kw_only=True):
    """A job as a door hands it over."""

    pipeline: str
    #: Its records, or rows that cannot become one.
    rows: Sequence[RecordIn | SetAside] | None = None
    manifest: Manifest | None = None
    #: Stored records; None, with neither rows nor a manifest, means all of them.
    ids: Sequence[str] | None = None
    #: See :func:`limner.domain.pipelines.steps_of`.
    choices: Choices = field(default_factory=dict)
    #: Look at every record again, although no version moved.
    full: bool = False
    priority: int = 0
    expires_in: timedelta | None = None
    #: The job is stopped as failed once more than this share of its records failed.
    fail_threshold: float | None = None
    callback: CallbackAsk | None = None
    key: Key | None = None
    #: Kept with the job, and given back.
    detail: Mapping[str, Value] = field(default_factory=dict)


def record_of_line(line: bytes, row: int) -> RecordIn | SetAside:
    """The record that one line of JSON holds."""
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError as error:
        return SetAside(row=row, reason=f"It is no record: {error}.", excerpt=line[:200].decode(errors="replace"))


def lines_of(rows: Iterable[RecordIn]) -> Iterator[bytes]:
    """*rows* as the lines that :func:`record_of_line` reads."""
    for row in rows:
        yield _encoder.encode(row) + b"\n"


def pages_of(file: Path, *, reader: str, page: int, after: int = 0) -> Iterator[list[RecordIn | SetAside]]:
    """The rows of a manifest's file, a *page* at a time, without the first so many; blank lines are passed over."""
    read = load_target(reader)
    assert callable(read), f"{reader} is no function"
    rows: list[RecordIn | SetAside] = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            if after:
                after -= 1
                continue
            rows.append(read(line, number))
            if len(rows) == page:
                yield rows
                rows = []
    if rows:
        yield rows
