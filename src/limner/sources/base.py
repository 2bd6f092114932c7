"""The contract of a source: records and rows set aside, in pages, in constant memory."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from msgspec import Struct

from limner.domain.records import NotARecord, RecordIn, RecordKey, SetAside, excerpt
from limner.domain.values import encode
from limner.errors import UsageError
from limner.sources.seen import Seen

Page: TypeAlias = list[RecordIn | SetAside]

#: Control characters and lone surrogates.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: Bytes of UTF-8 in a record's id at most; more would not fit a database's index.
MAX_ID = 1_024


class Columns(Struct, frozen=True, kw_only=True):
    """Which columns of a row mean something to Limner; all others become fields."""

    id: str = "id"
    #: Holds the id of the parent record.
    parent: str = "parent_id"
    #: The parents' collection; None where a column ``parent_collection`` names it.
    parent_collection: str | None = None
    #: Holds the source version, a whole number or an ISO-8601 time; None tries ``source_version``,
    #: ``modifiedTime`` and ``modified_time``, then ``version`` if it is a whole number.
    version: str | None = None
    #: Holds the revision of what lies at the record's addresses.
    revision: str = "revision"


class Found(Struct, frozen=True, kw_only=True):
    """A row that became a record, with those of other collections that it brought along."""

    #: The line, the row or the path where it stands.
    row: int | str
    #: The row's own record last.
    records: list[RecordIn]
    #: The beginning of the row, for the case that it is set aside after all.
    excerpt: str = ""


class Source(ABC):
    """
    Yields the records of one collection, and what could not become one.

    Every row of the source is in the pages exactly once, as a record or set aside. The same content and page size
    give the same pages, so an intake that was stopped goes on by passing over the pages that it committed.
    """

    #: Whether it can be read again, and so be listed for an audit.
    repeatable = True
    #: Whether its ids cannot occur twice, so that none need be remembered.
    unique = False

    def __init__(self, *, collection: str) -> None:
        self.collection = collection

    @abstractmethod
    def describe(self) -> str:
        """What it is, for a person: kind and place."""

    @abstractmethod
    def rows(self) -> Iterator[Found | SetAside]:
        """
        Every row in the order of the source, streaming.

        Raises:
            UsageError: the source as a whole cannot be read (any more); the rows before that stand.
        """

    def read(self, *, page: int = 10_000) -> Iterator[Page]:
        """
        Yield everything in pages of about *page* items; a page never holds two records of one collection and id.

        A second row with the id and source version of an earlier one is set aside with both row numbers. Ids are
        remembered as 64-bit hashes (see Seen); all else is constant in memory.
        """
        if page < 1:
            raise UsageError(f"A page holds at least one row, not {page}.")
        rows = self.rows() if self.unique else _without_repeats(self.rows())
        return _paged(rows, size=page)

    def ids(self) -> Iterator[str]:
        """
        Yield the ids of everything that is there, in the order of the source, repeats included.

        Raises:
            UsageError: the source can be read only once.
        """
        if not self.repeatable:
            raise UsageError(f"{self.describe()} can be read only once, so it cannot be listed for an audit.")
        return (row.records[-1].id for row in self.rows() if isinstance(row, Found))


def checked(records: list[RecordIn]) -> list[RecordIn]:
    """
    *records*, once it is sure that they can be stored.

    Raises:
        NotARecord: an id is empty, too long or holds control characters; a field holds what cannot be stored.
    """
    for record in records:
        check_id(record.id)
        try:
            encode(record.fields)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise NotARecord(f"{record.id}: a field cannot be stored: {error}.") from error
    return records


def check_id(text: str) -> None:
    """
    Refuse an id that no store can hold.

    Raises:
        NotARecord: it is blank, too long, or holds control characters or broken Unicode.
    """
    if not text.strip():
        raise NotARecord("The id is empty.")
    if _UNFIT.search(text):
        raise NotARecord("The id holds control characters or broken Unicode.")
    if len(text.encode()) > MAX_ID:
        raise NotARecord(f"The id is longer than {MAX_ID} bytes.")


def aside(row: int | str, reason: str, *, text: str = "") -> SetAside:
    """*row* set aside; *text* is the row itself."""
    return SetAside(row=row, reason=reason, excerpt=excerpt(text))


def _without_repeats(rows: Iterable[Found | SetAside]) -> Iterator[Found | SetAside]:
    """Pass *rows* on, a repeated id and source version set aside."""
    seen = Seen()
    for row in rows:
        if isinstance(row, SetAside) or not isinstance(row.row, int):
            yield row
            continue
        own = row.records[-1]
        first = seen.first((own.collection, own.id, own.source_version), row=row.row)
        if first == row.row:
            yield row
            continue
        version = "" if own.source_version is None else f" and version {own.source_version}"
        reason = f"Rows {first} and {row.row} have the same id{version}, {own.id!r}; the first was taken."
        yield SetAside(row=row.row, reason=reason, excerpt=row.excerpt)


def _paged(rows: Iterable[Found | SetAside], *, size: int) -> Iterator[Page]:
    """Collect *rows* into pages; a record that comes along repeatedly is in a page once, as its newest version."""
    page: Page = []
    places: dict[RecordKey, int] = {}
    for row in rows:
        if page and (len(page) >= size or (isinstance(row, Found) and _key(row.records[-1]) in places)):
            yield page
            page, places = [], {}
        if isinstance(row, SetAside):
            page.append(row)
            continue
        for record in row.records:
            at = places.setdefault(_key(record), len(page))
            if at == len(page):
                page.append(record)
            elif _newer(record, than=page[at]):
                page[at] = record
    if page:
        yield page


def _key(record: RecordIn) -> RecordKey:
    return record.collection, record.id


def _newer(record: RecordIn, *, than: RecordIn | SetAside) -> bool:
    """Whether *record* replaces the other in a page: it is not older."""
    old = than.source_version if isinstance(than, RecordIn) else None
    return old is None or (record.source_version is not None and record.source_version >= old)
