"""The index of a library: for each row number what it holds, which record it is, or why there is none; one Parquet."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from limner.sources.lines import open_bytes
from limner.sources.seen import Seen
from limner.systems.ersilia.library.rows import LibraryRow, LibraryRows
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.reasons import Reason

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows in one row group: what is taken in, and published, at a time.
BATCH = 10_000
_CHUNK = 1 << 20


class Library(Struct, frozen=True, kw_only=True):
    """What is known of a library, or of a sample of it, once it was read."""

    #: Name of its file, without the folder.
    name: str
    #: SHA-256 of the file, hexadecimal.
    sha256: str
    #: Rows that were read, those set aside included.
    rows: int
    blank_lines: int
    #: Rows that hold a molecule which no earlier row held.
    molecules: int
    #: Rows that say again what an earlier row said.
    duplicate_rows: int
    set_aside: int
    scheme: KeyScheme
    #: Whether it gives keys.
    keyed: bool
    #: It was to end after so many rows; None reads all.
    sample: int | None = None


class IndexRow(Struct, frozen=True, kw_only=True):
    """One row of a library, as its index keeps it."""

    row: int
    #: The key that the file gives.
    key: str | None
    smiles: str
    name: str | None
    #: Id of the record in collection ``molecules``; of a repeat, that of the first row; empty where there is none.
    record: str
    reason: Reason | None
    message: str
    #: The row that a repeat repeats; 0 in all others.
    first: int


def record_id(smiles: str) -> str:
    """The id of the record of a trimmed SMILES: its md5."""
    return hashlib.md5(smiles.encode(), usedforsecurity=False).hexdigest()


def write_index(file: Path, *, to: Path, scheme: KeyScheme | None = None, sample: int | None = None) -> Library:
    """
    Read the library in *file*, or its first *sample* rows, and write its index; equal files give equal bytes.

    Which molecules repeat is known by 64-bit hashes: among ten million, two different ones are taken for one with a
    probability of 3 in a million.

    Raises:
        UsageError: it cannot be read as a library.
    """
    from limner.systems.ersilia.library.columns import new_writer, table_of

    seen = Seen()
    counts = {"rows": 0, "molecules": 0, "duplicate_rows": 0, "set_aside": 0}
    with open_bytes(file) as stream, new_writer(to) as writer:
        rows = LibraryRows(stream, name=file.name, scheme=scheme)
        batch: list[IndexRow] = []
        for row in rows:
            found = _indexed(row, seen)
            counts["rows"] += 1
            counts[_kind(found)] += 1
            batch.append(found)
            if len(batch) == BATCH:
                writer.write_table(table_of(batch))
                batch = []
            if row.row == sample:
                break
        if batch:
            writer.write_table(table_of(batch))
    return Library(
        name=file.name,
        sha256=digest_of(file),
        blank_lines=rows.blank_lines,
        scheme=rows.scheme,
        keyed=rows.keyed,
        sample=sample,
        **counts,
    )


class LibraryIndex:
    """Reads an index, a batch of :data:`BATCH` rows at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path)

    def __len__(self) -> int:
        """How many rows the library has."""
        return int(self._file.metadata.num_rows)

    @property
    def batches(self) -> int:
        """How many batches there are; the last one may be smaller."""
        return int(self._file.num_row_groups)

    def batch(self, number: int) -> list[IndexRow]:
        """The rows of a batch, in order; batches count from 0."""
        from limner.systems.ersilia.library.columns import rows_of

        return rows_of(self._table(number))

    def rows(self) -> Iterator[IndexRow]:
        """Every row, in order."""
        for number in range(self.batches):
            yield from self.batch(number)

    def _table(self, number: int) -> "pa.Table":
        return self._file.read_row_group(number)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def digest_of(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _indexed(row: LibraryRow, seen: Seen) -> IndexRow:
    if row.reason is not None:
        record, reason, message, first = "", row.reason, row.message, 0
    else:
        record, reason, message = record_id(row.smiles), None, ""
        first = seen.first(row.smiles, row=row.row)
        if first == row.row:
            first = 0
        else:
            reason, message = Reason.DUPLICATE_ROW, f"{Reason.DUPLICATE_ROW.value}: Row {first} has the same SMILES."
    return IndexRow(
        row=row.row,
        key=row.key,
        smiles=row.smiles,
        name=row.name,
        record=record,
        reason=reason,
        message=message,
        first=first,
    )


def _kind(row: IndexRow) -> str:
    if row.reason is None:
        return "molecules"
    return "duplicate_rows" if row.reason is Reason.DUPLICATE_ROW else "set_aside"
