"""The generations of one index in a folder: a small database that says which answers, switched in one transaction."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from limner.errors import IllegalMove
from limner.search.layout import DOCUMENTS, create_documents, opened, transaction, translated
from limner.search.mapping import Mapping as SearchMapping
from limner.search.sqlite_place import SqlitePlace
from limner.search.tabled import GenerationList
from limner.search.tables import Known

_SCHEMA = """
CREATE TABLE IF NOT EXISTS generations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    current INTEGER NOT NULL DEFAULT 0,
    mapping BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_is_current ON generations (current) WHERE current = 1;
"""


class Generations(GenerationList):
    """The list of the generations in *folder*, which several processes may hold at a time."""

    def __init__(self, folder: Path) -> None:
        self.where = f"in {folder}"
        self._folder = folder
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._mappings: dict[int, SearchMapping] = {}

    def create(self, mapping: SearchMapping, *, versions: Mapping[str, str]) -> int:
        """Make the files of one more generation and list it."""
        with self._opened(create=True) as connection, transaction(connection, write=True):
            row = connection.execute(
                "INSERT INTO generations (mapping) VALUES (?) RETURNING number", (msgspec.json.encode(mapping),)
            ).fetchone()
            folder = self._folder / f"g{row[0]}"
            # Left behind by a process that ended before it had listed the generation.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            create_documents(folder / DOCUMENTS, mapping=mapping, versions=versions)
            return int(row[0])

    def known(self) -> list[Known]:
        """All of them, by number; none where no index was ever made."""
        if self._connection is None and not (self._folder / "generations.sqlite").is_file():
            return []
        with self._opened() as connection:
            rows = connection.execute("SELECT number, current, mapping FROM generations ORDER BY number").fetchall()
        return [
            Known(number=number, current=bool(current), mapping=self._mapping(number, encoded=mapping))
            for number, current, mapping in rows
        ]

    def switch(self, number: int) -> None:
        """Let generation *number* be the current one."""
        with self._opened() as connection, transaction(connection, write=True):
            connection.execute("UPDATE generations SET current = 0 WHERE current = 1")
            connection.execute("UPDATE generations SET current = 1 WHERE number = ?", (number,))

    def drop(self, number: int) -> None:
        """Delete generation *number*; readers that have its files open finish their query."""
        with self._opened() as connection, transaction(connection, write=True):
            # Asked again inside the transaction: another process may have switched meanwhile.
            dropped = connection.execute("DELETE FROM generations WHERE number = ? AND current = 0", (number,)).rowcount
            if not dropped:
                raise IllegalMove(f"Generation {number} answers queries; switch to another before it is dropped.")
        shutil.rmtree(self._folder / f"g{number}", ignore_errors=True)

    def place(self, known: Known) -> SqlitePlace:
        """The generation's own folder."""
        return SqlitePlace(self._folder / f"g{known.number}")

    def translated(self) -> AbstractContextManager[None]:
        """Let what SQLite and the file system complain of be an index that is unavailable."""
        return translated(self._folder)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _mapping(self, number: int, *, encoded: bytes) -> SearchMapping:
        """The mapping of a generation, which never changes, decoded once."""
        if number not in self._mappings:
            self._mappings[number] = msgspec.json.decode(encoded, type=SearchMapping)
        return self._mappings[number]

    @contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        with translated(self._folder), self._lock:
            if self._connection is None:
                if create:
                    self._folder.mkdir(parents=True, exist_ok=True)
                connection = opened(self._folder / "generations.sqlite", create=create)
                connection.executescript(_SCHEMA)
                self._connection = connection
            yield self._connection
