"""Writing a generation: documents in bulk, all or nothing, with the journal number that they cover."""

from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec
import numpy as np

from limner.domain.digests import digest
from limner.domain.values import encode
from limner.errors import UsageError, VersionConflict
from limner.search.base import Document, document_digest
from limner.search.conditions import Stored, kind_at, stored, values_of
from limner.search.mapping import Mapping
from limner.search.tables import COMPLETE, WritableTables, codes_of, vector_states
from limner.search.vectors import Numbers, unit
from limner.search.words import identifiers

#: Documents that are held in memory at a time.
_CHUNK = 1000


class Pinned(msgspec.Struct, kw_only=True):
    """What is fixed about the vectors of one path, perhaps by the first of them."""

    code: int
    length: int | None
    version: str | None


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the generation under an id."""

    slot: int
    digest: str
    vectors: str


class Writer:
    """One call's writing into *tables*, which are inside its transaction."""

    def __init__(self, tables: WritableTables, *, mapping: Mapping) -> None:
        self._tables = tables
        self._mapping = mapping
        self._codes = codes_of(tables)
        self._pinned = {
            path: Pinned(code=state.code, length=state.length, version=state.version)
            for path, state in vector_states(tables).items()
        }
        [(self._slots,)] = tables.rows("SELECT slots FROM @state")

    def delete(self, ids: Iterable[str]) -> None:
        """Take the documents called *ids* out."""
        wanted = iter(ids)
        while chunk := list(islice(wanted, _CHUNK)):
            self._tables.forget([found.slot for found in self._present(chunk).values()])

    def put(self, documents: Iterable[Document]) -> None:
        """Put *documents* in, or in the place of those with their ids; of two with one id the last counts."""
        wanted = iter(documents)
        while chunk := {document.id: document for document in islice(wanted, _CHUNK)}:
            self._put(chunk)

    def finish(self, *, remembered: int | None) -> None:
        """Make sure of the vectors, then note what a reader and the next writer must know."""
        self._tables.settle()
        self._tables.run(
            "UPDATE @vectors SET length = ?, version = ? WHERE code = ?",
            [(pin.length, pin.version, pin.code) for pin in self._pinned.values()],
        )
        self._tables.run("UPDATE @state SET slots = ?, changes = changes + 1", [(self._slots,)])
        if remembered is not None:
            self._tables.run("UPDATE @state SET remembered = ?", [(remembered,)])

    def _put(self, chunk: dict[str, Document]) -> None:
        present = self._present(chunk)
        digests = {id: document_digest(document) for id, document in chunk.items()}
        changed = [id for id in chunk if id not in present or present[id].digest != digests[id]]
        slots: dict[str, int] = {}
        fresh: list[Document] = []
        vectors = {id: _vectors_digest(chunk[id]) for id in changed}
        for id in changed:
            self._check(chunk[id])
            if id in present and present[id].vectors == vectors[id]:
                slots[id] = present[id].slot
            else:
                slots[id] = self._slots + len(fresh)
                fresh.append(chunk[id])
        self._tables.forget([present[id].slot for id in changed if id in present])
        self._write_vectors(fresh)
        documents = [(slots[id], chunk[id]) for id in changed]
        self._tables.put_documents(
            [
                (slot, d.id, digests[d.id], vectors[d.id], d.complete, encode(d.versions), encode([d.text, d.filters]))
                for slot, d in documents
            ]
        )
        self._tables.put_facts({fact for slot, document in documents for fact in self._facts(document, slot=slot)})
        self._tables.put_words([(slot, self._words(document)) for slot, document in documents])

    def _present(self, ids: Iterable[str]) -> dict[str, Present]:
        among, value = self._tables.among("id", list(ids))
        rows = self._tables.rows(f"SELECT id, slot, digest, vectors FROM @documents WHERE {among}", (value,))
        return {id: Present(slot=slot, digest=digest, vectors=vectors) for id, slot, digest, vectors in rows}

    def _check(self, document: Document) -> None:
        """Refuse a path that the mapping lacks, and a vector without version."""
        known = {"text": self._mapping.text, "filters": self._mapping.filters, "vectors": self._mapping.vectors}
        given = {"text": document.text, "filters": document.filters, "vectors": document.vectors}
        for part, paths in given.items():
            strange = [path for path in paths if path not in known[part]]
            if strange:
                raise UsageError(
                    f"Document {document.id} has {part} at {', '.join(strange)}, which the mapping of this generation "
                    "lacks; make a new generation with the new mapping."
                )
        for path in document.vectors:
            if not document.versions.get(path):
                raise UsageError(f"Document {document.id} does not say which version {path} comes from.")

    def _facts(self, document: Document, *, slot: int) -> list[tuple[int, Stored, int]]:
        """The facts of *document*."""
        rows: list[tuple[int, Stored, int]] = [(self._codes[path], 1, slot) for path in document.vectors]
        if document.complete:
            rows.append((self._codes[COMPLETE], 1, slot))
        for path, given in document.filters.items():
            kind, code = kind_at(path, mapping=self._mapping), self._codes[path]
            try:
                rows += [(code, stored(value, path=path, kind=kind), slot) for value in values_of(given)]
            except UsageError as error:
                raise UsageError(f"Document {document.id} is refused: {error}") from error
        return rows

    def _words(self, document: Document) -> list[str]:
        """The texts of *document* in the order of their paths, and its identifiers."""
        texts = [document.text.get(path, "") for path in self._mapping.text]
        lists = [[text] if isinstance(text, str) else list(text) for text in texts]
        whole = identifiers([document.id, *(value for values in lists for value in values)])
        return [*("\n".join(values) for values in lists), whole]

    def _write_vectors(self, documents: Sequence[Document]) -> None:
        """Give *documents* the next slots, and write their rows of each path that one of them has."""
        for path in self._mapping.vectors:
            found = {
                at: self._row(document, path=path) for at, document in enumerate(documents) if path in document.vectors
            }
            if not found:
                continue
            rows = np.zeros((len(documents), len(next(iter(found.values())))), dtype=np.float32)
            rows[list(found)] = list(found.values())
            self._tables.put_vectors(rows, code=self._codes[path], first=self._slots)
        self._slots += len(documents)

    def _row(self, document: Document, *, path: str) -> Numbers:
        """The vector of *document* at *path*, if it may stand beside the others there."""
        vector = unit(document.vectors[path], path=path, whose=f"document {document.id}")
        version, pin = document.versions[path], self._pinned[path]
        pin.length = pin.length or len(vector)
        pin.version = pin.version or version
        if version != pin.version:
            raise VersionConflict(
                f"{path} of document {document.id} is of version {version}, but this generation holds {pin.version}; "
                "fill a new generation with the new version, then switch to it."
            )
        if len(vector) != pin.length:
            raise VersionConflict(
                f"{path} of document {document.id} has {len(vector)} numbers, but this generation holds {pin.length}."
            )
        return vector


def _vectors_digest(document: Document) -> str:
    """What makes the vectors of two documents the same."""
    parts = [(path, np.asarray(vector, dtype=np.float32)) for path, vector in sorted(document.vectors.items())]
    return digest(encode(parts)).hex()
