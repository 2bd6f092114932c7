"""Growing the graphs of a generation: after a write, where enough vectors stand outside of them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from limner.search.generations import Known
from limner.search.graphs import Index
from limner.search.layout import DOCUMENTS, opened, transaction, vector_file
from limner.search.nearest import empty_graph
from limner.search.snapshot import VectorState, vector_states
from limner.search.vectors import Slots, VectorFile

#: Vectors that are added at a time.
_ROWS = 10_000
#: A graph grows when so many vectors stand outside of it, or a tenth of those inside where that is more: those
#: outside are compared one by one, and each growth writes the whole file.
_OUTSIDE = 5_000


def grow(generation: Known, *, graph_from: int, threads: int) -> None:
    """Bring the graphs of *generation* up to date where that is due; answers are right without, but come later."""
    with closing(opened(generation.folder / DOCUMENTS, create=False)) as connection:
        for state in vector_states(connection).values():
            slots = _present(connection, code=state.code)
            outside = int(np.count_nonzero(slots >= state.covered))
            due = graph_from if state.graph is None else max(_OUTSIDE, state.covered // 10)
            if outside and outside >= due:
                _grow(connection, folder=generation.folder, state=state, slots=slots, threads=threads)


def _grow(connection: sqlite3.Connection, *, folder: Path, state: VectorState, slots: Slots, threads: int) -> None:
    """Write a graph of all *slots*: the old one with the later slots, or a new one where half of the old is gone."""
    assert state.length is not None
    index = _read(folder / state.graph) if state.graph else None
    if index is None or len(index) > 2 * np.count_nonzero(slots < state.covered):
        index, later = empty_graph(state.length), slots
    else:
        later = slots[slots >= state.covered]
    end = int(slots[-1]) + 1
    rows = VectorFile(vector_file(folder, code=state.code), length=state.length).rows(end)
    for at in range(0, len(later), _ROWS):
        chunk = later[at : at + _ROWS]
        index.add(chunk.astype(np.uint64), rows[chunk], threads=threads)
    name = f"vectors-{state.code}-{end}.graph"
    part = folder / f"{name}.part"
    index.save(part)
    part.replace(folder / name)
    with transaction(connection, write=True):
        connection.execute("UPDATE vectors SET graph = ?, covered = ? WHERE code = ?", (name, end, state.code))
    if state.graph is not None:
        # Readers that have it mapped keep it; one that comes too late compares all vectors, once.
        (folder / state.graph).unlink(missing_ok=True)


def _read(file: Path) -> Index | None:
    """The graph in *file*, in memory, to be added to; None where the file is gone."""
    return Index.restore(file, view=False) if file.is_file() else None


def _present(connection: sqlite3.Connection, *, code: int) -> Slots:
    """The slots that have the vector with *code*, rising."""
    rows = connection.execute("SELECT slot FROM facts WHERE code = ? AND value = 1 ORDER BY slot", (code,))
    return np.fromiter((slot for (slot,) in rows), dtype=np.int64)
