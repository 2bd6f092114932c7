"""A graph of near neighbours (usearch: HNSW, half precision, cosine) for more vectors than are compared one by one."""

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from limner.search.graphs import Index, MetricKind, ScalarKind
from limner.search.vectors import Numbers, Slots

#: Neighbours found before any are compared exactly: the more, the more of the true ones are among them.
_WIDTH = 256
#: To find one neighbour costs about as much as to compare so many vectors (measured with 512 numbers each).
_COST = 6


def empty_graph(length: int) -> Index:
    """A graph without vectors, of so many numbers each."""
    return Index(ndim=length, metric=MetricKind.Cos, dtype=ScalarKind.F16)


class Graph:
    """A graph in a file, mapped into memory, that many threads ask."""

    def __init__(self, index: Index, *, covered: int) -> None:
        #: Slots below this are in the graph; later ones are compared one by one.
        self.covered = covered
        self._index = index
        # The library gives each of its own threads a workspace, but would let two of ours share one.
        self._one_at_a_time = threading.Lock()

    @staticmethod
    def opened(file: Path, *, covered: int) -> "Graph | None":
        """
        The graph in *file*.

        None where the file is gone, since a newer graph took its place after the caller had read its name.
        """
        if not file.is_file():
            return None
        index = Index.restore(file, view=True, expansion_search=_WIDTH)
        return None if index is None else Graph(index, covered=covered)

    def near(self, query: Numbers, *, allowed: npt.NDArray[np.bool_], wanted: int) -> Slots | None:
        """
        Slots that are allowed and near to *query*, *wanted* or more; None where comparing all of them is cheaper.

        The graph knows no filter, so it is asked for more, the fewer are allowed, and again where too few came. Of
        more equal vectors than it is asked for it gives any.
        """
        share = np.count_nonzero(allowed[: self.covered]) / max(1, self.covered)
        if share == 0:
            return None
        ask = int(max(_WIDTH, 1.25 * wanted / share))
        while ask * _COST <= share * self.covered:
            with self._one_at_a_time:
                keys = np.asarray(self._index.search(query, ask).keys).astype(np.int64)
            kept: Slots = keys[allowed[keys]]
            if len(kept) >= wanted:
                return kept
            ask *= 4
        return None
