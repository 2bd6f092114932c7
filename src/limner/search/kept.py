"""Indexes that stay open between questions, where to open one is dear."""

import threading
from collections.abc import Iterable, Iterator, Mapping

from limner.search.base import Document, Generation, Page, Query, Row, SearchIndex
from limner.search.connect import connect_search, is_shared
from limner.search.mapping import Mapping as SearchMapping


class Indexes:
    """All indexes behind *url*, for as many threads as ask."""

    def __init__(self, url: str) -> None:
        self._url = url
        #: Whether servers on several machines have the same: then the one that leads writes them.
        self.shared = is_shared(url)
        self._kept: dict[str, SearchIndex] = {}
        self._lock = threading.Lock()

    def open(self, name: str) -> SearchIndex:
        """The index called *name*, to be closed by who asked; one that is kept open is closed with all of them."""
        with self._lock:
            if name in self._kept:
                return Lent(self._kept[name])
            index = connect_search(self._url, name=name)
            if not self.shared:
                return index
            self._kept[name] = index
            return Lent(index)

    def close(self) -> None:
        """Let go of those that were kept open."""
        with self._lock:
            kept, self._kept = list(self._kept.values()), {}
        for index in kept:
            index.close()


class Lent(SearchIndex):
    """*index*, which its borrower may close without ending it for others."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index

    def create(self, mapping: SearchMapping, *, versions: Mapping[str, str] | None = None) -> int:
        """Make an empty generation beside the others."""
        return self._index.create(mapping, versions=versions)

    def generations(self) -> list[Generation]:
        """All generations by number."""
        return self._index.generations()

    def switch(self, number: int) -> None:
        """Let generation *number* answer from now on."""
        self._index.switch(number)

    def drop(self, number: int) -> None:
        """Delete generation *number*."""
        self._index.drop(number)

    def apply(
        self,
        documents: Iterable[Document],
        *,
        deletes: Iterable[str] = (),
        remembered: int | None = None,
        generation: int | None = None,
    ) -> None:
        """Delete, then put in or replace."""
        self._index.apply(documents, deletes=deletes, remembered=remembered, generation=generation)

    def search(self, query: Query) -> Page:
        """Answer *query*."""
        return self._index.search(query)

    def rows(self, *, generation: int | None = None) -> Iterator[Row]:
        """What is indexed, sorted by id."""
        return self._index.rows(generation=generation)
