"""The tables of one generation: what every database is asked alike, and the few verbs in which databases differ."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from msgspec import Struct

from limner.search.conditions import Predicate, Stored
from limner.search.mapping import Mapping as SearchMapping
from limner.search.vectors import Numbers, Scores, Slots, VectorFile

#: The path under which complete documents are marked.
COMPLETE = ""

# A slot is a document's row in every table and among the vectors. A document whose vectors change takes a new slot, so
# that readers never see a vector change under them; slots are not used again. A path's facts are its filter values, and
# for a vector the mark that the document has one.


class Known(Struct, frozen=True, kw_only=True):
    """A generation that is listed."""

    number: int
    current: bool
    mapping: SearchMapping


class VectorState(Struct, frozen=True, kw_only=True):
    """The vectors of one path as they stood at one moment."""

    code: int
    #: None until the first vector came.
    length: int | None
    version: str | None
    #: Name of the graph's file, and below which slot it holds them.
    graph: str | None
    covered: int


class Tables(ABC):
    """
    One generation's tables at one moment, inside a transaction.

    In SQL that all databases understand, ``@facts`` is the generation's table of that name and ``?`` a value.
    """

    @abstractmethod
    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that *sql* selects."""

    @abstractmethod
    def slots(self, sql: str, values: Sequence[object] = ()) -> Slots:
        """What *sql* selects as ``slot``, in its order, and much faster than row by row."""

    @abstractmethod
    def among(self, column: str, items: Sequence[str] | Sequence[int]) -> tuple[str, object]:
        """SQL that holds where *column* is one of *items*, and its value."""

    @abstractmethod
    def keeping(self, code: int, predicate: Predicate) -> Slots:
        """The slots with a value of the path with *code* that keeps *predicate*, whatever its sign."""

    @abstractmethod
    def numbers(self, code: int) -> tuple[Scores, Slots]:
        """The numbers at the path with *code*, rising, with their slots."""

    @abstractmethod
    def values(self, code: int) -> tuple[list[Stored], list[int], Slots]:
        """The values at the path with *code* in their order, how many slots have each, and those slots in a row."""

    @abstractmethod
    def holding(self, words: Sequence[str]) -> Slots:
        """The slots of the documents that hold all of *words*, each in another form, or whole as an identifier."""

    @abstractmethod
    def scores(self, words: Sequence[str], *, weights: Sequence[float]) -> tuple[Slots, Scores]:
        """The slots that hold any of *words*, and how well they match: BM25, with the weights of the text paths."""


class WritableTables(Tables):
    """The same while they are written; nothing of it is seen before the transaction ends."""

    @abstractmethod
    def run(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Do *sql* once for each of *rows*."""

    @abstractmethod
    def put_documents(self, rows: Sequence[tuple[int, str, str, str, bool, bytes, bytes]]) -> None:
        """Put in rows of slot, id, digest, digest of the vectors, complete, versions, body."""

    @abstractmethod
    def put_facts(self, facts: set[tuple[int, Stored, int]]) -> None:
        """Put in facts of code, value, slot."""

    @abstractmethod
    def put_words(self, rows: Sequence[tuple[int, Sequence[str]]]) -> None:
        """Put in, by slot, the texts of the mapping's text paths and the identifiers."""

    @abstractmethod
    def put_vectors(self, rows: Numbers, *, code: int, first: int) -> None:
        """Put *rows* into the slots from *first* on."""

    @abstractmethod
    def forget(self, slots: Sequence[int]) -> None:
        """Take documents out; their vectors stay until the generation is dropped, for those who read meanwhile."""

    @abstractmethod
    def settle(self) -> None:
        """Return when all vectors are as sure as the transaction will be."""


class Place(ABC):
    """Where one generation lies, and the files of it on this machine; for as many threads as ask."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder of this machine for files of the generation."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Tables]:
        """The tables as they stand now, until the end of the block."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[WritableTables]:
        """The tables for one writer, all or nothing."""

    @abstractmethod
    def vectors(self, state: VectorState, *, tables: Tables, slots: int) -> VectorFile:
        """The file of the vectors in *state*, with all that *tables* know below *slots*."""

    @abstractmethod
    def graph(self, name: str, *, tables: Tables) -> Path:
        """The file of the graph called *name*; it is not there where a newer one took its place."""

    @abstractmethod
    def publish(self, file: Path, *, path: str, state: VectorState, name: str, covered: int) -> None:
        """Let *file* be the graph of *path* in the place of that of *state*; not if another took its place already."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; what is in use is let go of by who uses it."""


def vector_states(tables: Tables) -> dict[str, VectorState]:
    """The vectors of a generation by path, as *tables* stand."""
    rows = tables.rows(
        "SELECT path, code, length, version, graph, covered FROM @vectors JOIN @paths USING (code) ORDER BY code"
    )
    return {
        path: VectorState(code=code, length=length, version=version, graph=graph, covered=covered)
        for path, code, length, version, graph, covered in rows
    }


def codes_of(tables: Tables) -> dict[str, int]:
    """The codes of a generation's paths."""
    return {path: code for code, path in tables.rows("SELECT code, path FROM @paths")}


def path_codes(mapping: SearchMapping) -> list[str]:
    """The paths of a generation with *mapping*; where each stands is its code."""
    return [COMPLETE, *sorted({*mapping.filters, *mapping.vectors})]
