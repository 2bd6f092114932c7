"""Search in a folder: words and filters in SQLite, vectors in flat files, large sets of vectors in graphs."""

from pathlib import Path

from limner.search.generations import Generations
from limner.search.tabled import TabledSearch


class SqliteSearch(TabledSearch):
    """One index in *folder*."""

    def __init__(self, folder: Path, *, graph_from: int = 20_000, threads: int = 0) -> None:
        """The other arguments are those of every index in tables."""
        super().__init__(Generations(folder), graph_from=graph_from, threads=threads)
