"""Follows the journal of the store, so that an index catches up after any stop and never holds a commit back."""

from collections.abc import Callable, Iterator, Mapping

from limner.engine.views import View
from limner.search.base import Document, Generation, SearchIndex
from limner.search.documents import documents_of
from limner.search.lineage import lineages
from limner.search.mapping import Mapping as SearchMapping
from limner.store.journal import Entry
from limner.store.store import Store, Transaction

_PAGE = 1000


def _silent(_: int) -> None:
    return


class Follower:
    """
    Keeps the index of one collection of a pipeline; everything in it is derived from the store.

    A changed mapping or a moved version of a vector is a new generation, filled beside the one that answers and
    switched to at once; the one before is kept for a roll-back.
    """

    def __init__(
        self, *, store: Store, index: SearchIndex, view: View, mapping: SearchMapping, collection: str
    ) -> None:
        self._store = store
        self._index = index
        self._view = view
        self._mapping = mapping
        self._collection = collection

    def catch_up(self, *, progress: Callable[[int], None] = _silent) -> Generation:
        """Take in what changed since the last time; the generation that answers now."""
        versions = self._vector_versions()
        generation = self._fitting(versions)
        if generation is None:
            return self._switch_to(self._fill(versions, progress=progress))
        self._follow(generation, progress=progress)
        return self._switch_to(generation)

    def rebuild(self, *, progress: Callable[[int], None] = _silent) -> Generation:
        """Fill a new generation from the store and switch to it."""
        return self._switch_to(self._fill(self._vector_versions(), progress=progress))

    def mend(self, *, missing: list[int], extra: list[str]) -> None:
        """Put the documents of the records *missing* in anew, and take the ids *extra* out."""
        for start in range(0, len(missing), _PAGE):
            with self._store.reading() as tx:
                documents, gone = self._documents(tx, missing[start : start + _PAGE])
            self._index.apply(documents, deletes=gone)
        self._index.apply((), deletes=extra)

    def current(self) -> Generation | None:
        """The generation that answers; None before the first."""
        return next((found for found in self._index.generations() if found.current), None)

    def _vector_versions(self) -> Mapping[str, str]:
        """The active version of each vector path of the collection's own stages."""
        with self._store.reading() as tx:
            made_by = lineages(tx, self._view)
        digests = {
            node.stage.name: made_by[node.pk]
            for node in self._view.nodes
            if node.pk in made_by and node.collection == self._collection
        }
        first = {path: path.partition(".")[0] for path in self._mapping.vectors}
        return {path: digests[stage] for path, stage in first.items() if stage in digests}

    def _fitting(self, versions: Mapping[str, str]) -> Generation | None:
        """The newest generation with this mapping whose vectors are of these versions, the current one first."""
        found = [
            generation
            for generation in self._index.generations()
            if generation.mapping == self._mapping
            and all(generation.versions.get(path, version) == version for path, version in versions.items())
        ]
        return max(found, key=lambda generation: (generation.current, generation.number), default=None)

    def _fill(self, versions: Mapping[str, str], *, progress: Callable[[int], None]) -> Generation:
        """A new generation with everything that is stored."""
        with self._store.reading() as tx:
            head = tx.journal.last()
        number = self._index.create(self._mapping, versions=versions)
        for keys in self._pages():
            with self._store.reading() as tx:
                documents, _ = self._documents(tx, keys)
            self._index.apply(documents, generation=number)
            progress(len(keys))
        self._index.apply((), remembered=head, generation=number)
        generation = self._numbered(number)
        self._follow(generation, progress=progress)
        return generation

    def _follow(self, generation: Generation, *, progress: Callable[[int], None]) -> None:
        """Take the journal's entries since the generation's last one."""
        taken = generation.remembered
        while True:
            with self._store.reading() as tx:
                entries = tx.journal.read(after=taken, limit=200)
                if not entries:
                    return
                documents, gone = self._documents(tx, self._touched(tx, entries))
            taken = entries[-1].number
            self._index.apply(documents, deletes=gone, remembered=taken, generation=generation.number)
            progress(len(documents))

    def _touched(self, tx: Transaction, entries: list[Entry]) -> list[int]:
        """The collection's records that entries name, and those whose parent they name where parents are read."""
        mine = self._view.collections[self._collection]
        keys: set[int] = set()
        parents: set[int] = set()
        for entry in entries:
            (keys if entry.collection == mine else parents).update(entry.records)
        if parents and self._reads_parents():
            children = tx.records.children(sorted(parents), collection=mine)
            keys.update(child.pk for child in children)
        return sorted(keys)

    def _reads_parents(self) -> bool:
        paths = {**self._mapping.text, **self._mapping.filters, **self._mapping.vectors}
        return any(path.startswith("parent.") for path in paths)

    def _documents(self, tx: Transaction, keys: list[int]) -> tuple[list[Document], list[str]]:
        return documents_of(tx, self._view, self._mapping, collection=self._collection, keys=keys)

    def _pages(self) -> Iterator[list[int]]:
        collection, after = self._view.collections[self._collection], 0
        while True:
            with self._store.reading() as tx:
                keys = tx.records.page(collection, after=after, limit=_PAGE, stubs=True)
            if not keys:
                return
            after = keys[-1]
            yield keys

    def _numbered(self, number: int) -> Generation:
        return next(found for found in self._index.generations() if found.number == number)

    def _switch_to(self, generation: Generation) -> Generation:
        """Let a generation answer; of the others only the one before it is kept."""
        if not generation.current:
            before = self.current()
            self._index.switch(generation.number)
            for other in self._index.generations():
                if not other.current and (before is None or other.number != before.number):
                    self._index.drop(other.number)
        return self._numbered(generation.number)
