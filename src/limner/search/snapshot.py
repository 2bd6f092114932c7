"""One generation held open for reading: where it lies, its graphs, and what was worked out so far."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from limner.search.cache import Cache
from limner.search.narrowing import Narrowing
from limner.search.nearest import Graph
from limner.search.tables import Known, Place, Tables, VectorState, vector_states
from limner.search.vectors import VectorFile

#: Bytes of marks, orders and scores that are kept for one state of a generation.
_CACHED = 128_000_000


class Snapshot(Struct, frozen=True, kw_only=True):
    """One state of a generation."""

    tables: Tables
    slots: int
    narrowing: Narrowing
    vectors: dict[str, VectorState]


class Held:
    """The generation *known*, held open by one process for as many threads as ask."""

    def __init__(self, known: Known, *, place: Place) -> None:
        self.generation = known
        self.place = place
        self._lock = threading.Lock()
        self._cached: tuple[int, Cache] = (-1, Cache(most_bytes=_CACHED))
        self._graphs: dict[int, tuple[str, Graph | None]] = {}

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The generation as it stands now, until the end of the block."""
        with self.place.reading() as tables:
            [(slots, changes)] = tables.rows("SELECT slots, changes FROM @state")
            weights = list(self.generation.mapping.text.values())
            narrowing = Narrowing(tables, slots=slots, cache=self._cache(changes), weights=weights)
            yield Snapshot(tables=tables, slots=slots, narrowing=narrowing, vectors=vector_states(tables))

    def vectors(self, state: VectorState, *, snapshot: Snapshot) -> VectorFile:
        """The vectors in *state*, which has seen some, with all that *snapshot* has."""
        return self.place.vectors(state, tables=snapshot.tables, slots=snapshot.slots)

    def graph(self, state: VectorState, *, snapshot: Snapshot) -> Graph | None:
        """The graph over the vectors in *state*; None where there is none, so that all are compared."""
        if state.graph is None:
            return None
        with self._lock:
            name, graph = self._graphs.get(state.code, ("", None))
            if name != state.graph:
                graph = Graph.opened(self.place.graph(state.graph, tables=snapshot.tables), covered=state.covered)
                self._graphs[state.code] = (state.graph, graph)
            return graph

    def close(self) -> None:
        """Let go of connections and files."""
        self.place.close()

    def _cache(self, changes: int) -> Cache:
        """What was worked out about the state after so many *changes*; an older state starts anew, and is not kept."""
        with self._lock:
            if changes > self._cached[0]:
                self._cached = (changes, Cache(most_bytes=_CACHED))
            return self._cached[1] if changes == self._cached[0] else Cache(most_bytes=_CACHED)
