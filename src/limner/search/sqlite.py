"""Search in a folder: words and filters in SQLite, vectors in flat files, large sets of vectors in graphs."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from limner.errors import SearchUnavailable
from limner.search.base import Document, Generation, Page, Query, Row, SearchIndex
from limner.search.generations import Generations, Known
from limner.search.growing import grow
from limner.search.layout import DOCUMENTS, opened, transaction, translated
from limner.search.mapping import Mapping as SearchMapping
from limner.search.reading import Reading, described, streamed
from limner.search.snapshot import Held
from limner.search.writing import Writer


class SqliteSearch(SearchIndex):
    """One index in *folder*; any number of processes may read it while one writes."""

    def __init__(self, folder: Path, *, graph_from: int = 20_000, threads: int = 0) -> None:
        """
        *graph_from*: vectors of one path above which near ones are found by a graph; below, all are compared.
        *threads*: how many a growing graph uses, 0 for all.
        """
        self._folder = folder
        self._graph_from = graph_from
        self._threads = threads
        self._generations = Generations(folder)
        self._held: dict[int, Held] = {}
        self._lock = threading.Lock()

    def create(self, mapping: SearchMapping, *, versions: Mapping[str, str] | None = None) -> int:
        """Make an empty generation beside the others."""
        return self._generations.create(mapping, versions=versions or {})

    def generations(self) -> list[Generation]:
        """All generations by number."""
        with translated(self._folder):
            return [described(self._hold(known), current=known.current) for known in self._generations.known()]

    def switch(self, number: int) -> None:
        """Let generation *number* answer from now on."""
        self._generations.switch(number)

    def drop(self, number: int) -> None:
        """Delete generation *number*."""
        self._generations.drop(number)
        with self._lock:
            held = self._held.pop(number, None)
        if held is not None:
            held.close()

    def apply(
        self,
        documents: Iterable[Document],
        *,
        deletes: Iterable[str] = (),
        remembered: int | None = None,
        generation: int | None = None,
    ) -> None:
        """Delete, then put in or replace, in one transaction; then let graphs grow where that is due."""
        target = self._generations.one(generation)
        with translated(target.folder), closing(opened(target.folder / DOCUMENTS, create=False)) as connection:
            with transaction(connection, write=True):
                stands = connection.execute("SELECT remembered FROM state").fetchone()[0]
                if remembered is not None and remembered < stands:
                    return
                writer = Writer(connection, generation=target)
                writer.delete(deletes)
                writer.put(documents)
                writer.finish(remembered=remembered)
            grow(target, graph_from=self._graph_from, threads=self._threads)

    def search(self, query: Query) -> Page:
        """Answer *query* from one state of one generation."""
        while True:
            generation = self._generations.one(query.generation)
            try:
                with translated(generation.folder):
                    held = self._hold(generation)
                    with held.snapshot() as snapshot:
                        return Reading(query, held=held, snapshot=snapshot).page()
            except SearchUnavailable:
                # It may have been dropped between being looked up and being opened, since another answers now.
                if self._generations.one(query.generation).number == generation.number:
                    raise

    def rows(self, *, generation: int | None = None) -> Iterator[Row]:
        """What is indexed, sorted by id."""
        held = self._hold(self._generations.one(generation))
        with translated(self._folder):
            yield from streamed(held)

    def close(self) -> None:
        """Let go of files and connections."""
        with self._lock:
            held, self._held = list(self._held.values()), {}
        for one in held:
            one.close()
        self._generations.close()

    def _hold(self, generation: Known) -> Held:
        """The generation held open, once for all threads."""
        with self._lock:
            if generation.number not in self._held:
                # Those that another process dropped go, so that their room on the disk is free.
                for number in [number for number, held in self._held.items() if not held.generation.folder.is_dir()]:
                    self._held.pop(number).close()
                self._held[generation.number] = Held(generation)
            return self._held[generation.number]
