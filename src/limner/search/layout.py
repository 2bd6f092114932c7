"""What one generation's database looks like in SQLite, and how its files are opened."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from limner.errors import SearchUnavailable
from limner.search.mapping import Mapping as SearchMapping
from limner.search.tables import path_codes

#: The database of a generation; its vectors stand beside it.
DOCUMENTS = "documents.sqlite"
_SCHEMA = """
CREATE TABLE state (remembered INTEGER NOT NULL, changes INTEGER NOT NULL, slots INTEGER NOT NULL);
INSERT INTO state VALUES (0, 0, 0);
CREATE TABLE paths (code INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE vectors (
    code INTEGER PRIMARY KEY,
    length INTEGER,
    version TEXT,
    graph TEXT,
    covered INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE documents (
    slot INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    vectors TEXT NOT NULL,
    complete INTEGER NOT NULL,
    versions BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE facts (
    code INTEGER NOT NULL, value NOT NULL, slot INTEGER NOT NULL, PRIMARY KEY (code, value, slot)
) WITHOUT ROWID;
CREATE INDEX facts_of_document ON facts (slot);
"""


def create_documents(file: Path, *, mapping: SearchMapping, versions: Mapping[str, str]) -> None:
    """Make the empty database of a generation."""
    connection = opened(file)
    try:
        connection.executescript(_SCHEMA)
        columns = ", ".join([*(f"t{number}" for number in range(len(mapping.text))), "whole"])
        connection.execute(
            f"CREATE VIRTUAL TABLE words USING fts5({columns}, tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        paths = path_codes(mapping)
        connection.executemany("INSERT INTO paths VALUES (?, ?)", enumerate(paths))
        connection.executemany(
            "INSERT INTO vectors (code, length, version) VALUES (?, ?, ?)",
            [(paths.index(path), length, versions.get(path)) for path, length in mapping.vectors.items()],
        )
    finally:
        connection.close()


def vector_file(folder: Path, *, code: int) -> Path:
    """The file of the vectors of the path with *code*, in a generation's *folder*."""
    return folder / f"vectors-{code}.f32"


def opened(file: Path, *, create: bool = True) -> sqlite3.Connection:
    """A connection to *file* that any thread may use, one at a time, and that begins transactions only when told."""
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=30, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, *, write: bool) -> Iterator[sqlite3.Connection]:
    """All or nothing; a reading one sees the file as it stood when it began."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield connection
    except BaseException:
        # SQLite itself may have ended it, for example where the disk is full.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def translated(place: Path) -> Iterator[None]:
    """Let what SQLite and the file system complain of be an index that is unavailable."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SearchUnavailable(f"The search index in {place} cannot be used: {error}.") from error
