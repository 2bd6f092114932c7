"""The contract of a search index, and its nouns: documents go in, one query asks for words, filters and vectors."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from limner.domain.digests import digest
from limner.domain.reads import Condition
from limner.domain.values import encode
from limner.search.mapping import Mapping as SearchMapping

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers: TypeAlias = npt.NDArray[np.float32]

#: One value of a filter. Dates are numbers: milliseconds since the epoch, negative before it.
Comparable: TypeAlias = str | int | float | bool


class Match(StrEnum):
    """How many of the words asked for a document must hold, in any of its text."""

    ALL = "all"
    #: All but 30 %, rounded down: of one to three words all, of four to six one may be missing.
    MOST = "most"


class Document(Struct, frozen=True, kw_only=True):
    """All that is searched of one record; what is absent is left out, never invented."""

    id: str
    #: By path, the words to search.
    text: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    #: By path, what is compared whole: one value or several.
    filters: Mapping[str, Comparable | Sequence[Comparable]] = field(default_factory=dict)
    #: By path, one-dimensional arrays of finite numbers.
    vectors: "Mapping[str, Numbers]" = field(default_factory=dict)
    #: By path, the digest of the version that an inferred value came from; vectors must have theirs.
    versions: Mapping[str, str] = field(default_factory=dict)
    #: Whether all required stages are current for the record.
    complete: bool = True


class Row(Struct, frozen=True, kw_only=True):
    """What an index holds of one record, as an audit compares it."""

    id: str
    #: :func:`document_digest` of the document that was taken, in hexadecimal.
    digest: str
    versions: Mapping[str, str]
    complete: bool


class Generation(Struct, frozen=True, kw_only=True):
    """One whole index; the current one answers, the others are being filled or kept for a roll-back."""

    number: int
    current: bool
    mapping: SearchMapping
    #: By vector path, the only version whose vectors it takes and compares; fixed by the first that comes.
    versions: Mapping[str, str]
    documents: int
    #: Number of the last journal entry whose changes it holds.
    remembered: int


class Near(Struct, frozen=True, kw_only=True):
    """Likeness to a vector, or to a document of the index: cosine, 1 is the same direction."""

    #: Vector path that is compared.
    path: str
    vector: "Numbers | None" = None
    #: Version that made *vector*; None where the caller took the one that the generation holds.
    version: str | None = None
    #: Id of the document to be like, instead of *vector*; it is no answer itself.
    like: str | None = None
    #: Ids that are no answers.
    exclude: tuple[str, ...] = ()
    #: Hits are at least so much alike.
    min_score: float | None = None


class Query(Struct, frozen=True, kw_only=True):
    """One question; its parts narrow each other."""

    text: str = ""
    #: Holds where no likeness is asked for; with one, words are a filter and all of them must occur.
    match: Match = Match.MOST
    #: All of them must hold; ``in`` takes a list of values of which one is enough.
    filters: tuple[Condition, ...] = ()
    near: Near | None = None
    #: Leave documents that are not complete out of what :attr:`near` finds.
    hide_incomplete: bool = False
    #: Filter path to order by, documents without a value last; otherwise by score, then by id.
    order: str | None = None
    descending: bool = False
    limit: int = 10
    offset: int = 0
    #: Filter paths whose values are counted; each count passes over the conditions on its own path.
    facets: tuple[str, ...] = ()
    #: Ask a generation that is not the current one.
    generation: int | None = None


class Hit(Struct, frozen=True, kw_only=True):
    """One document that was found."""

    id: str
    #: Cosine, or how well the words match; None where nothing was ranked. Compares within one answer only.
    score: float | None
    #: Its text and filter values by path.
    fields: Mapping[str, Comparable | Sequence[Comparable]]


class FacetCount(Struct, frozen=True, kw_only=True):
    """How many documents have a value."""

    value: Comparable
    count: int


class Page(Struct, frozen=True, kw_only=True):
    """The hits asked for, and how many there are in all."""

    hits: list[Hit]
    #: Documents that words and filters leave and, where likeness is asked for, that have the vector.
    total: int
    #: The generation that answered, and the versions of its vectors.
    generation: int
    versions: Mapping[str, str]
    #: By facet path, most frequent value first.
    facets: Mapping[str, list[FacetCount]] = field(default_factory=dict)


class SearchIndex(ABC):
    """
    One searchable collection in generations, derived from the store and rebuilt from it at any time.

    One process writes at a time; others read meanwhile, and each query is answered from one generation as it stood
    at one moment. Every method raises SearchUnavailable where the index cannot be read or written.
    """

    @abstractmethod
    def create(self, mapping: SearchMapping, *, versions: Mapping[str, str] | None = None) -> int:
        """
        Make an empty generation beside the others and return its number.

        *versions* fixes the version of a vector path beforehand. The current generation goes on answering.
        """

    @abstractmethod
    def generations(self) -> list[Generation]:
        """All generations by number."""

    @abstractmethod
    def switch(self, number: int) -> None:
        """
        Let generation *number* answer from now on; the one before is kept, and switching back is a roll-back.

        Raises:
            NotFound: there is no such generation.
        """

    @abstractmethod
    def drop(self, number: int) -> None:
        """
        Delete generation *number*.

        Raises:
            IllegalMove: it is the current one.
            NotFound: there is no such generation.
        """

    @abstractmethod
    def apply(
        self,
        documents: Iterable[Document],
        *,
        deletes: Iterable[str] = (),
        remembered: int | None = None,
        generation: int | None = None,
    ) -> None:
        """
        Delete, then put in or replace, all or nothing, in *generation* (the current one if None).

        *remembered* is stored in the same transaction: the number of the last journal entry that these changes
        cover. A call with a number before the stored one is late and changes nothing.

        Raises:
            VersionConflict: a vector has another version or length than those of its path.
            UsageError: a document has a path that the mapping lacks, or a value of another kind.
            NotFound: there is no such generation.
        """

    @abstractmethod
    def search(self, query: Query) -> Page:
        """
        Answer *query*; an empty page means that nothing matches and never that something failed.

        Raises:
            VersionConflict: the vector asked with has another version or length than those of its path.
            UsageError: the query names a path that the mapping lacks, or compares what cannot be compared.
            NotFound: there is no such generation, or no document to be like.
        """

    @abstractmethod
    def rows(self, *, generation: int | None = None) -> Iterator[Row]:
        """What is indexed, sorted by id (by code point), in a stream that never holds all of it."""

    def close(self) -> None:
        """Let go of files and connections."""
        return


def document_digest(document: Document) -> str:
    """What makes two documents the same, in hexadecimal: an audit compares it with :attr:`Row.digest`."""
    import numpy as np

    vectors = {path: np.asarray(vector, dtype=np.float32) for path, vector in document.vectors.items()}
    parts = [document.text, document.filters, vectors, document.versions, document.complete]
    return digest([encode(part) for part in parts]).hex()
