"""Requests that bring a file: each a folder with what was uploaded, what was made of it, and where it stands."""

import csv
import gzip
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from secrets import token_hex

import msgspec
from msgspec import Struct, structs

from limner.app.hosting import Host
from limner.errors import NotFound
from limner.ids import new_id
from limner.systems.ersilia.door.forms import cell
from limner.systems.ersilia.precalc.nouns import PublishRow

_ID = re.compile(r"[a-z0-9-]+")
_STATE, _UPLOAD = "request.json", "upload"
#: The file of rows without prediction.
ASIDE = "set_aside.csv.gz"


class Kind(StrEnum):
    """What a request is answered with."""

    #: The molecules of its file, in files with a header.
    FILE = "file"
    #: The same as the hub's later client reads it: without header, and twice as wide, since it keeps the first half.
    FILTER = "filter"
    #: What is stored of the model, without header.
    ALL = "all"


class FileMade(Struct, frozen=True, kw_only=True):
    """One file of a result."""

    key: str
    size: int


class UploadRequest(Struct, frozen=True, kw_only=True):
    """Where a request stands."""

    id: str
    model: str
    columns: tuple[str, ...] = ()
    created: float
    #: Until when its file can be put, and its result be fetched; seconds since the epoch.
    expires: float
    #: Bytes of its file; None before it came.
    uploaded: int | None = None
    job: str | None = None
    #: None before its job has ended.
    files: tuple[FileMade, ...] | None = None
    #: Molecules with predictions in the files, and rows without.
    answered: int = 0
    missing: int = 0
    kind: Kind = Kind.FILE
    #: Of :attr:`Kind.ALL`: so many molecules; 0 for all of them.
    most: int = 0


class Requests:
    """The requests of one project."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._folder = host.app.project.home / "requests"

    def make(
        self, model: str, *, lifetime: timedelta, identity: str = "", kind: Kind = Kind.FILE, most: int = 0
    ) -> UploadRequest:
        """A new request, called *identity* if that is given; those that have expired are removed."""
        self._sweep()
        now = self._host.clock.now()
        made = UploadRequest(
            id=identity or new_id("request", now=now),
            model=model,
            created=now,
            expires=now + lifetime.total_seconds(),
            kind=kind,
            most=most,
        )
        (self._folder / made.id).mkdir(parents=True, exist_ok=True)
        self.keep(made)
        return made

    def unanswered(self, kind: Kind) -> list[UploadRequest]:
        """The requests of a kind that have no result yet."""
        found = [self._read(folder) for folder in self._folder.iterdir()] if self._folder.is_dir() else []
        return [one for one in found if one is not None and one.kind is kind and one.files is None]

    def get(self, identity: str) -> UploadRequest:
        """
        Where a request stands.

        Raises:
            NotFound: there is none, or it has expired.
        """
        found = self._read(self._folder / identity) if _ID.fullmatch(identity) else None
        if found is None or found.expires <= self._host.clock.now():
            raise NotFound(f"There is no request {identity}; it may have expired.")
        return found

    def keep(self, request: UploadRequest) -> None:
        """Write down where a request stands, whole or not at all."""
        file = self._folder / request.id / _STATE
        draft = file.with_name(f".{token_hex(8)}")
        draft.write_bytes(msgspec.json.encode(request))
        draft.replace(file)

    def upload(self, request: UploadRequest) -> Path:
        """The file that was put."""
        return self._folder / request.id / _UPLOAD

    def draft(self, request: UploadRequest) -> Path:
        """Where a file is put until it is there as a whole."""
        return self._folder / request.id / f".{token_hex(8)}"

    def put(self, request: UploadRequest, draft: Path) -> None:
        """Take *draft* for the request's file."""
        size = draft.stat().st_size
        draft.replace(self.upload(request))
        self.keep(structs.replace(request, uploaded=size))

    def file(self, request: UploadRequest, key: str) -> Path:
        """
        One file of the result.

        Raises:
            NotFound: there is none of this name.
        """
        if key not in {made.key for made in request.files or ()}:
            raise NotFound(f"Request {request.id} has no file {key}.")
        return self._folder / request.id / key

    @contextmanager
    def answering(self, request: UploadRequest) -> Iterator["Answering"]:
        """Write the result; it is there, as a whole, once the block has ended."""
        answering = Answering(self._folder / request.id, columns=request.columns, kind=request.kind)
        yield answering
        made = answering.close()
        now = structs.replace(request, files=made, answered=answering.answered, missing=answering.missing)
        self.keep(now)

    def _read(self, folder: Path) -> UploadRequest | None:
        try:
            return msgspec.json.decode((folder / _STATE).read_bytes(), type=UploadRequest)
        except (OSError, msgspec.DecodeError):
            return None

    def _sweep(self) -> None:
        now = self._host.clock.now()
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            found = self._read(folder)
            if found is not None and found.expires <= now:
                shutil.rmtree(folder, ignore_errors=True)


class Answering:
    """Writes the result of a request: a file for each batch of molecules, and one of the rows without prediction."""

    def __init__(self, folder: Path, *, columns: Sequence[str], kind: Kind) -> None:
        self._folder = folder
        self._header = ("key", "input", *columns) if kind is Kind.FILE else None
        #: Cells that nobody reads, behind those of a row.
        self._behind = ("",) * (2 + len(columns)) if kind is Kind.FILTER else ()
        self._files: list[FileMade] = []
        self._aside: list[tuple[str, ...]] = []
        self.answered = 0
        self.missing = 0

    def take(self, rows: Sequence[PublishRow]) -> None:
        """Write one batch."""
        good = [row.prediction for row in rows if row.prediction.values is not None]
        lines = [(one.key, one.smiles, *map(cell, one.values or ()), *self._behind) for one in good]
        if lines:
            self._write(f"result_{len(self._files) + 1:04}.csv.gz", self._header, lines)
        for row in rows:
            failed = row.prediction.failed
            if failed is not None:
                told = (str(row.row), row.prediction.key, row.prediction.smiles, failed.code.value, failed.reason)
                self._aside.append((*told, failed.message))
        self.answered += len(good)
        self.missing += len(rows) - len(good)

    def close(self) -> tuple[FileMade, ...]:
        """The files."""
        if self._aside:
            self._write(ASIDE, ("row", "key", "input", "code", "reason", "message"), self._aside)
        return tuple(self._files)

    def _write(self, name: str, header: Sequence[str] | None, lines: Sequence[Sequence[str]]) -> None:
        draft = self._folder / f".{token_hex(8)}"
        with gzip.open(draft, "wt", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            if header is not None:
                writer.writerow(header)
            writer.writerows(lines)
        self._files.append(FileMade(key=name, size=draft.stat().st_size))
        draft.replace(self._folder / name)
