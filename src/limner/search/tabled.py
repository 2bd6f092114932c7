"""An index of generations in tables: all that its backends have in common, from the list of generations up."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager

from limner.errors import NotFound, SearchUnavailable
from limner.search.base import Document, Generation, Page, Query, Row, SearchIndex
from limner.search.growing import grow
from limner.search.mapping import Mapping as SearchMapping
from limner.search.reading import Reading, described, streamed
from limner.search.snapshot import Held
from limner.search.tables import Known, Place
from limner.search.writing import Writer


class GenerationList(ABC):
    """The generations of one index, which several processes may hold at a time."""

    #: Where they lie, for sentences.
    where: str

    @abstractmethod
    def create(self, mapping: SearchMapping, *, versions: Mapping[str, str]) -> int:
        """Make one more, and list it."""

    @abstractmethod
    def known(self) -> list[Known]:
        """All of them, by number; none where no index was ever made."""

    @abstractmethod
    def switch(self, number: int) -> None:
        """Let generation *number*, which is listed, be the current one."""

    @abstractmethod
    def drop(self, number: int) -> None:
        """
        Delete generation *number*, which is listed; readers that have it open finish their query.

        Raises:
            IllegalMove: it is the current one.
        """

    @abstractmethod
    def place(self, known: Known) -> Place:
        """Where the tables of *known* lie."""

    @abstractmethod
    def translated(self) -> AbstractContextManager[None]:
        """Let what the database and the file system complain of be an index that is unavailable."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""

    def one(self, number: int | None) -> Known:
        """
        The generation called *number*, the current one if None.

        Raises:
            NotFound: there is no such generation.
            SearchUnavailable: none is current.
        """
        known = self.known()
        for generation in known:
            if generation.current if number is None else generation.number == number:
                return generation
        if number is None:
            raise SearchUnavailable(f"The search index {self.where} has no current generation; build one first.")
        numbers = ", ".join(str(generation.number) for generation in known) or "there is none"
        raise NotFound(f"There is no generation {number} of this index; known are: {numbers}")


class TabledSearch(SearchIndex):
    """The index of the generations in *listed*; any number of processes may read it while one writes."""

    def __init__(self, listed: GenerationList, *, graph_from: int = 20_000, threads: int = 0) -> None:
        """
        *graph_from*: vectors of one path above which near ones are found by a graph; below, all are compared.
        *threads*: how many a growing graph uses, 0 for all.
        """
        self._listed = listed
        self._graph_from = graph_from
        self._threads = threads
        self._held: dict[int, Held] = {}
        self._lock = threading.Lock()

    def create(self, mapping: SearchMapping, *, versions: Mapping[str, str] | None = None) -> int:
        """Make an empty generation beside the others."""
        return self._listed.create(mapping, versions=versions or {})

    def generations(self) -> list[Generation]:
        """All generations by number."""
        found = (self._described(known) for known in self._listed.known())
        return [generation for generation in found if generation is not None]

    def switch(self, number: int) -> None:
        """Let generation *number* answer from now on."""
        self._listed.switch(self._listed.one(number).number)

    def drop(self, number: int) -> None:
        """Delete generation *number*."""
        self._listed.drop(self._listed.one(number).number)
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
        target = self._listed.one(generation)
        place = self._hold(target).place
        with self._listed.translated():
            with place.writing() as tables:
                [(stands,)] = tables.rows("SELECT remembered FROM @state")
                if remembered is not None and remembered < stands:
                    return
                writer = Writer(tables, mapping=target.mapping)
                writer.delete(deletes)
                writer.put(documents)
                writer.finish(remembered=remembered)
            if target.mapping.vectors:
                grow(place, graph_from=self._graph_from, threads=self._threads)

    def search(self, query: Query) -> Page:
        """Answer *query* from one state of one generation."""
        while True:
            generation = self._listed.one(query.generation)
            try:
                held = self._hold(generation)
                with self._listed.translated(), held.snapshot() as snapshot:
                    return Reading(query, held=held, snapshot=snapshot).page()
            except SearchUnavailable:
                # It may have been dropped between being looked up and being opened, since another answers now.
                if self._listed.one(query.generation).number == generation.number:
                    raise

    def rows(self, *, generation: int | None = None) -> Iterator[Row]:
        """What is indexed, sorted by id."""
        held = self._hold(self._listed.one(generation))
        with self._listed.translated():
            yield from streamed(held)

    def close(self) -> None:
        """Let go of files and connections."""
        with self._lock:
            held, self._held = list(self._held.values()), {}
        for one in held:
            one.close()
        self._listed.close()

    def _described(self, known: Known) -> Generation | None:
        """What *known* holds now; None where it was dropped meanwhile."""
        try:
            held = self._hold(known)
            with self._listed.translated():
                return described(held, current=known.current)
        except SearchUnavailable:
            if known.number in {one.number for one in self._listed.known()}:
                raise
            return None

    def _hold(self, generation: Known) -> Held:
        """The generation held open, once for all threads."""
        with self._lock:
            if generation.number not in self._held:
                # Those that another process dropped go, so that their room is free.
                listed = {known.number for known in self._listed.known()}
                for number in [number for number in self._held if number not in listed]:
                    self._held.pop(number).close()
                self._held[generation.number] = Held(generation, place=self._listed.place(generation))
            return self._held[generation.number]
