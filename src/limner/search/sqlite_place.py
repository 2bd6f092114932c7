"""A generation in a folder: a SQLite database, and beside it the files of vectors and graphs."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from limner.search.layout import DOCUMENTS, opened, transaction, vector_file
from limner.search.sqlite_tables import SqliteTables
from limner.search.tables import Place, Tables, VectorState, WritableTables, vector_states
from limner.search.vectors import VectorFile


class SqlitePlace(Place):
    """The generation in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: list[sqlite3.Connection] = []
        self._files: dict[int, VectorFile] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def folder(self) -> Path:
        """The generation's own folder."""
        return self._folder

    @contextmanager
    def reading(self) -> Iterator[Tables]:
        """The tables as they stand now."""
        with self._connection() as connection, transaction(connection, write=False):
            yield SqliteTables(connection, folder=self.folder)

    @contextmanager
    def writing(self) -> Iterator[WritableTables]:
        """The tables for one writer."""
        connection = opened(self.folder / DOCUMENTS, create=False)
        with closing(connection), transaction(connection, write=True):
            yield SqliteTables(connection, folder=self.folder)

    def vectors(self, state: VectorState, *, tables: Tables, slots: int) -> VectorFile:
        """The file that writers write."""
        with self._lock:
            if state.code not in self._files:
                file = vector_file(self.folder, code=state.code)
                self._files[state.code] = VectorFile(file, length=state.length or 0)
            return self._files[state.code]

    def graph(self, name: str, *, tables: Tables) -> Path:
        """The file that a writer made."""
        return self.folder / name

    def publish(self, file: Path, *, path: str, state: VectorState, name: str, covered: int) -> None:
        """Move *file* to where readers find it, then name it."""
        file.replace(self.folder / name)
        with self.writing() as tables:
            if vector_states(tables)[path].graph != state.graph:
                return
            tables.run("UPDATE @vectors SET graph = ?, covered = ? WHERE code = ?", [(name, covered, state.code)])
        if state.graph is not None:
            # Readers that have it mapped keep it; one that comes too late compares all vectors, once.
            (self.folder / state.graph).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of connections; one that is in use is let go of by who uses it."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or opened(self.folder / DOCUMENTS, create=False)
        keep = False
        try:
            yield connection
            keep = True
        finally:
            with self._lock:
                keep = keep and not self._closed
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()
