"""Prediction files that somebody else wrote, as batches that can be published."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

from msgspec import Struct, structs

from limner.errors import UsageError
from limner.sources.lines import numbered_lines, open_bytes
from limner.sources.seen import Seen
from limner.systems.ersilia.columns import Column
from limner.systems.ersilia.nouns import KeyScheme, Prediction
from limner.systems.ersilia.precalc.nouns import Counts, PublishRow
from limner.systems.ersilia.predictions.given_cells import Header, predictions_of
from limner.systems.ersilia.predictions.settled import settled
from limner.systems.ersilia.reasons import Reason

#: Rows of one batch.
BATCH = 10_000
#: Cells that are in memory at a time.
_CELLS = 1_000_000
#: Rows whose reason is told one by one.
_SHOWN = 1_000


class Cut(Struct, frozen=True, kw_only=True):
    """Where a batch lies."""

    #: Which file, and at which byte of it.
    file: int
    offset: int
    #: The number of its first row over all files, from 1, and how many it has.
    row: int
    rows: int


class GivenRows(Struct, frozen=True, kw_only=True):
    """The rows of given files in batches; opens itself, in whichever process reads it."""

    files: tuple[str, ...]
    headers: tuple[Header, ...]
    cuts: tuple[Cut, ...]
    columns: tuple[Column, ...]
    scheme: KeyScheme
    strict: bool
    #: Rows that say again what an earlier row said.
    repeats: frozenset[int]

    def __call__(self) -> "GivenRows":
        """Open them."""
        return self

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self.cuts)

    def rows(self, number: int) -> Iterator[PublishRow]:
        """The rows of one batch, but for repeats."""
        cut = self.cuts[number]
        with open_bytes(Path(self.files[cut.file])) as stream:
            stream.seek(cut.offset)
            lines = islice(_filled(stream, self.files[cut.file]), cut.rows)
            for row, prediction in _read(lines, self, self.headers[cut.file], first=cut.row):
                if row not in self.repeats:
                    yield PublishRow(row=row, prediction=prediction)


class Survey(Struct, frozen=True, kw_only=True):
    """What given files hold."""

    rows: GivenRows
    counts: Counts
    #: Number and reason of the first rows that failed or repeat.
    by_row: dict[int, str]
    #: SHA-256 over all files, hexadecimal.
    sha256: str


def survey(files: Sequence[Path], *, columns: Sequence[Column], scheme: KeyScheme | None, strict: bool) -> Survey:
    """
    Look through *files* once, every row of them; *scheme* None takes that of the first key.

    Raises:
        UsageError: a file lacks a column of the model; nothing of any is taken then.
    """
    headers = tuple(_header(file, columns) for file in files)
    found = _Found()
    rows = GivenRows(
        files=tuple(map(str, files)),
        headers=headers,
        cuts=(),
        columns=tuple(columns),
        scheme=scheme or _scheme_of(files, headers),
        strict=strict,
        repeats=frozenset(),
    )
    digest = hashlib.sha256()
    for number, file in enumerate(files):
        digest.update(_digest(file))
        with open_bytes(file) as stream:
            _skip_header(stream, str(file))
            lines = found.noting(stream, number, name=str(file))
            for row, prediction in _read(lines, rows, headers[number], first=found.rows + 1):
                found.take(row, prediction)
        found.end_file()
    counts = found.counts()
    whole = structs.replace(rows, cuts=tuple(found.cuts), repeats=frozenset(found.repeats))
    return Survey(rows=whole, counts=counts, by_row=found.by_row, sha256=digest.hexdigest())


class _Found:
    """What a survey has come to so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.cuts: list[Cut] = []
        self.repeats: set[int] = set()
        self.by_row: dict[int, str] = {}
        self._stored = 0
        self._blank = 0
        self._reasons: Counter[str] = Counter()
        self._keys, self._spellings = Seen(), Seen()
        self._begun: Cut | None = None

    def noting(self, stream: IO[bytes], file: int, *, name: str) -> Iterator[bytes]:
        """The lines that are rows, with a note of where each batch begins."""
        offset = stream.tell()
        for _, line in numbered_lines(stream, name=name):
            bare = _bare(line)
            if bare == b"":
                self._blank += 1
            else:
                self._note(file, offset)
                yield bare
            offset = stream.tell()

    def end_file(self) -> None:
        """A batch does not go on in the next file."""
        if self._begun is not None:
            self.cuts.append(self._begun)
            self._begun = None

    def take(self, row: int, prediction: Prediction) -> None:
        """Count a row."""
        reason = self._reason(row, prediction)
        if reason is None:
            self._stored += 1
            return
        self._reasons[reason.partition(" ")[0]] += 1
        if len(self.by_row) < _SHOWN:
            self.by_row[row] = reason

    def counts(self) -> Counts:
        """Rows by what they come to."""
        again, other = self._reasons[Reason.DUPLICATE_ROW], self._reasons[Reason.DUPLICATE_KEY]
        return Counts(
            rows=self.rows,
            stored=self._stored,
            failed=self.rows - self._stored - again - other,
            skipped=0,
            cancelled=0,
            duplicate_row=again,
            duplicate_key=other,
            blank_lines=self._blank,
            reasons=dict(self._reasons),
        )

    def _note(self, file: int, offset: int) -> None:
        self.rows += 1
        if self._begun is None or self._begun.rows == BATCH:
            self.end_file()
            self._begun = Cut(file=file, offset=offset, row=self.rows, rows=0)
        self._begun = structs.replace(self._begun, rows=self._begun.rows + 1)

    def _reason(self, row: int, prediction: Prediction) -> str | None:
        if prediction.failed is not None:
            return prediction.failed.reason
        first = self._keys.first(prediction.key, row=row)
        same = self._spellings.first((prediction.key, prediction.smiles), row=row)
        if first == row:
            return None
        self.repeats.add(row)
        return f"{Reason.DUPLICATE_KEY if same == row else Reason.DUPLICATE_ROW} of {first}"


def _read(lines: Iterator[bytes], given: GivenRows, header: Header, *, first: int) -> Iterator[tuple[int, Prediction]]:
    """The rows of *lines*, with their numbers from *first* on, as many at a time as fit into memory."""
    most = max(1, min(BATCH, _CELLS // max(1, len(given.columns))))
    while piece := list(islice(lines, most)):
        for prediction in predictions_of(piece, header, columns=given.columns, scheme=given.scheme):
            yield first, settled(prediction, scheme=given.scheme, strict=given.strict)
            first += 1


def _filled(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """The lines that are rows: all that are not blank."""
    return (bare for _, line in numbered_lines(stream, name=name) if (bare := _bare(line)) != b"")


def _bare(line: bytes | None) -> bytes:
    """A line without its end; one beyond all bounds as a row that cannot be read."""
    return b"\xff" if line is None else line.removesuffix(b"\n").removesuffix(b"\r")


def _skip_header(stream: IO[bytes], name: str) -> list[str]:
    """Read the first line that is not blank; its fields."""
    for line in _filled(stream, name):
        try:
            return next(csv.reader([line.decode()]))
        except UnicodeDecodeError:
            break
    return []


def _header(file: Path, columns: Sequence[Column]) -> Header:
    with open_bytes(file) as stream:
        names = [name.strip() for name in _skip_header(stream, str(file))]
    lower = [name.lower() for name in names]
    lacks = [name for name in ("key", "input") if name not in lower]
    lacks += [column.name for column in columns if column.name not in names]
    if lacks:
        more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
        raise UsageError(
            f"{Reason.BAD_COLUMNS}: {file} lacks {', '.join(lacks[:3])}{more}; its first line holds key, input and the "
            "model's columns. Nothing was published."
        )
    return Header(
        fields=len(names),
        key=lower.index("key"),
        input=lower.index("input"),
        cells=tuple(names.index(column.name) for column in columns),
    )


def _scheme_of(files: Sequence[Path], headers: Sequence[Header]) -> KeyScheme:
    """The scheme of the first row's key; that of InChIKeys where it has neither."""
    for file, header in zip(files, headers, strict=True):
        with open_bytes(file) as stream:
            _skip_header(stream, str(file))
            for line in islice(_filled(stream, str(file)), 1):
                fields = line.decode(errors="replace").split(",")
                key = fields[header.key].strip().strip('"') if header.key < len(fields) else ""
                return next((scheme for scheme in KeyScheme if scheme.fits(key)), KeyScheme.INCHIKEY)
    return KeyScheme.INCHIKEY


def _digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
