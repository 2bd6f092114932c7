"""Growing the graphs of a generation: after a write, where enough vectors stand outside of them."""

import numpy as np
from msgspec import Struct

from limner.search.conditions import Predicate
from limner.search.graphs import Index
from limner.search.nearest import empty_graph
from limner.search.tables import Place, Tables, VectorState, vector_states
from limner.search.vectors import Numbers, Slots

#: Vectors that are added at a time.
_ROWS = 10_000
#: A graph grows when so many vectors stand outside of it, or a tenth of those inside where that is more: those
#: outside are compared one by one, and each growth writes the whole file.
_OUTSIDE = 5_000


class Due(Struct, frozen=True, kw_only=True):
    """A graph that should grow, and what it is grown of."""

    path: str
    state: VectorState
    #: The slots that have the vector, rising.
    slots: Slots
    rows: Numbers
    #: The graph so far, in memory; None where there is none, or its file is gone.
    graph: Index | None


def grow(place: Place, *, graph_from: int, threads: int) -> None:
    """Bring the graphs of a generation up to date where that is due; answers are right without, but come later."""
    with place.reading() as tables:
        found = [
            _due(place, tables, path=path, state=state, graph_from=graph_from)
            for path, state in vector_states(tables).items()
        ]
    for due in found:
        if due is not None:
            _grow(place, due, threads=threads)


def _due(place: Place, tables: Tables, *, path: str, state: VectorState, graph_from: int) -> Due | None:
    """What the graph of *path* is grown of, if it should grow."""
    due = max(1, graph_from) if state.graph is None else max(_OUTSIDE, state.covered // 10)
    [(written,)] = tables.rows("SELECT slots FROM @state")
    if written - state.covered < due:
        return None
    slots = np.sort(tables.keeping(state.code, Predicate(path=path)))
    if np.count_nonzero(slots >= state.covered) < due:
        return None
    rows = place.vectors(state, tables=tables, slots=written).rows(int(slots[-1]) + 1)
    graph = None
    if state.graph is not None:
        file = place.graph(state.graph, tables=tables)
        graph = Index.restore(file, view=False) if file.is_file() else None
    return Due(path=path, state=state, slots=slots, rows=rows, graph=graph)


def _grow(place: Place, due: Due, *, threads: int) -> None:
    """Make a graph of all slots: the old one with the later slots, or a new one where half of the old is gone."""
    state, slots, index = due.state, due.slots, due.graph
    if index is None or len(index) > 2 * np.count_nonzero(slots < state.covered):
        assert state.length is not None
        index, later = empty_graph(state.length), slots
    else:
        later = slots[slots >= state.covered]
    for at in range(0, len(later), _ROWS):
        chunk = later[at : at + _ROWS]
        index.add(chunk.astype(np.uint64), due.rows[chunk], threads=threads)
    name = f"vectors-{state.code}-{len(due.rows)}.graph"
    part = place.folder / f"{name}.part"
    index.save(part)
    place.publish(part, path=due.path, state=state, name=name, covered=len(due.rows))
