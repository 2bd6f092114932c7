"""A generation on a PostgreSQL server; its vectors and graphs are copied to this machine when a question needs them."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from limner.search.layout import vector_file
from limner.search.lexemes import Lexer
from limner.search.postgresql_server import Server
from limner.search.postgresql_tables import PostgresqlTables
from limner.search.tables import Place, Tables, VectorState, WritableTables, vector_states
from limner.search.vectors import VectorFile

#: Blocks of vectors that are read at a time, of some megabytes at most each.
_BLOCKS = 16
#: Bytes of a graph in one row.
_PART = 4_000_000


class PostgresqlPlace(Place):
    """The tables on *server* whose names begin with *before*."""

    def __init__(self, server: Server, *, before: str, lexer: Lexer) -> None:
        self._server = server
        self._before = before
        self._lexer = lexer
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._closed = False
        self._lock = threading.RLock()
        #: By code: the file of vectors, and below which slot it has them. A slot's vector never changes.
        self._files: dict[int, tuple[VectorFile, int]] = {}

    @property
    def copied(self) -> bool:
        """Whether there are copies."""
        return self._copies is not None

    @property
    def folder(self) -> Path:
        """A folder for copies, made when the first one is."""
        with self._lock:
            if self._closed:
                raise FileNotFoundError("the generation was dropped, or the index closed")
            if self._copies is None:
                self._copies = tempfile.TemporaryDirectory(prefix="limner-index-")
            return Path(self._copies.name)

    @contextmanager
    def reading(self) -> Iterator[Tables]:
        """The tables as they stand now."""
        with self._server.transaction(write=False) as connection:
            yield PostgresqlTables(connection, before=self._before, lexer=self._lexer)

    @contextmanager
    def writing(self) -> Iterator[WritableTables]:
        """The tables for one writer; the next one waits for the row that this one holds."""
        with self._server.transaction(write=True) as connection:
            connection.execute(f"SELECT FROM {self._before}state FOR UPDATE".encode())
            yield PostgresqlTables(connection, before=self._before, lexer=self._lexer)

    def vectors(self, state: VectorState, *, tables: Tables, slots: int) -> VectorFile:
        """This machine's copy, to which is added what came since."""
        with self._lock:
            code, length = state.code, state.length or 0
            file, held = self._files.get(code) or (VectorFile(vector_file(self.folder, code=code), length=length), 0)
            while held < slots:
                blocks = tables.rows(
                    "SELECT first, data FROM @blocks WHERE code = ? AND first >= ? AND first < ?"
                    " ORDER BY first LIMIT ?",
                    (code, held, slots, _BLOCKS),
                )
                for first, data in blocks:
                    file.write(np.frombuffer(data, dtype="<f4").reshape(-1, length), first=first)
                held = blocks[-1][0] + 1 if len(blocks) == _BLOCKS else slots
            self._files[code] = (file, held)
            return file

    def graph(self, name: str, *, tables: Tables) -> Path:
        """This machine's copy."""
        file = self.folder / name
        with self._lock:
            if file.is_file():
                return file
            part = self.folder / f"{name}.copied"
            parts = tables.rows("SELECT part FROM @graphs WHERE name = ? ORDER BY part", (name,))
            with part.open("wb") as copy:
                for (number,) in parts:
                    [(data,)] = tables.rows("SELECT data FROM @graphs WHERE name = ? AND part = ?", (name, number))
                    copy.write(data)
            if parts:
                self._replace(part, file)
            return file

    def publish(self, file: Path, *, path: str, state: VectorState, name: str, covered: int) -> None:
        """Put *file* into the database; who reads the one before has it until the end of its question."""
        with self.writing() as tables:
            if vector_states(tables)[path].graph != state.graph:
                return
            with file.open("rb") as read:
                number = 0
                while data := read.read(_PART):
                    tables.run("INSERT INTO @graphs VALUES (?, ?, ?)", [(name, number, data)])
                    number += 1
            tables.run("UPDATE @vectors SET graph = ?, covered = ? WHERE code = ?", [(name, covered, state.code)])
            if state.graph is not None:
                tables.run("DELETE FROM @graphs WHERE name = ?", [(state.graph,)])
        with self._lock:
            self._replace(file, self.folder / name)

    def close(self) -> None:
        """Remove the copies; what has them mapped keeps them."""
        with self._lock:
            self._closed = True
            copies, self._copies, self._files = self._copies, None, {}
        if copies is not None:
            copies.cleanup()

    def _replace(self, part: Path, file: Path) -> None:
        """Let *part* be *file*, and forget older graphs of the same vectors; what has one mapped keeps it."""
        for older in self.folder.glob(f"{file.stem.rpartition('-')[0]}-*.graph"):
            older.unlink(missing_ok=True)
        part.replace(file)
