"""One generation held open for reading: connections, mapped vectors, graphs, and what was worked out so far."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from limner.search.cache import Cache
from limner.search.generations import Known
from limner.search.layout import DOCUMENTS, opened, transaction, vector_file
from limner.search.narrowing import Narrowing
from limner.search.nearest import Graph
from limner.search.vectors import VectorFile

#: Bytes of marks, orders and scores that are kept for one state of a generation.
_CACHED = 128_000_000


class VectorState(Struct, frozen=True, kw_only=True):
    """The vectors of one path as they stood at one moment."""

    code: int
    #: None until the first vector came.
    length: int | None
    version: str | None
    #: Name of the graph's file, and below which slot it holds them.
    graph: str | None
    covered: int


class Snapshot(Struct, frozen=True, kw_only=True):
    """One state of a generation."""

    connection: sqlite3.Connection
    slots: int
    narrowing: Narrowing
    vectors: dict[str, VectorState]


def vector_states(connection: sqlite3.Connection) -> dict[str, VectorState]:
    """The vectors of a generation by path, as *connection* sees them."""
    rows = connection.execute("SELECT path, code, length, version, graph, covered FROM vectors JOIN paths USING (code)")
    return {
        path: VectorState(code=code, length=length, version=version, graph=graph, covered=covered)
        for path, code, length, version, graph, covered in rows
    }


class Held:
    """*generation*, held open by one process for as many threads as ask."""

    def __init__(self, generation: Known) -> None:
        self.generation = generation
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._cached: tuple[int, Cache] = (-1, Cache(most_bytes=_CACHED))
        self._files: dict[int, VectorFile] = {}
        self._graphs: dict[int, tuple[str, Graph | None]] = {}
        self._closed = False

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The generation as it stands now, until the end of the block."""
        with self._connection() as connection, transaction(connection, write=False):
            slots, changes = connection.execute("SELECT slots, changes FROM state").fetchone()
            weights = list(self.generation.mapping.text.values())
            narrowing = Narrowing(connection, slots=slots, cache=self._cache(changes), weights=weights)
            yield Snapshot(connection=connection, slots=slots, narrowing=narrowing, vectors=vector_states(connection))

    def vector_file(self, state: VectorState) -> VectorFile:
        """The file of the vectors in *state*, which has seen some."""
        with self._lock:
            if state.code not in self._files:
                file = vector_file(self.generation.folder, code=state.code)
                self._files[state.code] = VectorFile(file, length=state.length or 0)
            return self._files[state.code]

    def graph(self, state: VectorState) -> Graph | None:
        """The graph over the vectors in *state*; None where there is none, so that all are compared."""
        if state.graph is None:
            return None
        with self._lock:
            name, graph = self._graphs.get(state.code, ("", None))
            if name != state.graph:
                graph = Graph.opened(self.generation.folder / state.graph, covered=state.covered)
                self._graphs[state.code] = (state.graph, graph)
            return graph

    def close(self) -> None:
        """Let go of connections; one that is in use is let go of by who uses it."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _cache(self, changes: int) -> Cache:
        """What was worked out about the state after so many *changes*; an older state starts anew, and is not kept."""
        with self._lock:
            if changes > self._cached[0]:
                self._cached = (changes, Cache(most_bytes=_CACHED))
            return self._cached[1] if changes == self._cached[0] else Cache(most_bytes=_CACHED)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or opened(self.generation.folder / DOCUMENTS, create=False)
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
