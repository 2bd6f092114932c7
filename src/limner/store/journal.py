"""The journal: one row a commit, with a number that only grows, for all who follow the store."""

from collections.abc import Iterable

from msgspec import Struct
from sqlalchemy import func, insert, select

from limner.domain.packing import pack, unpack
from limner.store.base import Noun
from limner.store.dialect import upsert
from limner.store.work_tables import followers, journal


class Entry(Struct, frozen=True, kw_only=True):
    """What one commit changed in one collection."""

    number: int
    #: When, in seconds since the epoch.
    at: float
    collection: int
    #: ``records`` (fields), ``results``, or ``version`` (which result is served moved; no records are named).
    kind: str
    records: list[int]


class Journal(Noun):
    """The journal and those who follow it, within one transaction."""

    def write(self, collection: int, records: Iterable[int], *, kind: str, at: float) -> None:
        """Append what this transaction changed."""
        row = {"at": at, "collection": collection, "records": pack(records), "kind": kind}
        self.connection.execute(insert(journal).values(**row))

    def read(self, *, after: int, limit: int = 500) -> list[Entry]:
        """The next entries after number *after*."""
        query = select(journal).where(journal.c.pk > after).order_by(journal.c.pk).limit(limit)
        return [
            Entry(number=row.pk, at=row.at, collection=row.collection, kind=row.kind, records=list(unpack(row.records)))
            for row in self.connection.execute(query)
        ]

    def last(self) -> int:
        """The number of the newest entry; 0 before the first."""
        return int(self.connection.execute(select(func.coalesce(func.max(journal.c.pk), 0))).scalar_one())

    def taken(self, follower: str) -> int:
        """The last number that a follower took; 0 before the first."""
        query = select(followers.c.taken).where(followers.c.name == follower)
        return int(self.connection.execute(query).scalar_one_or_none() or 0)

    def take(self, follower: str, number: int) -> None:
        """Remember that a follower took everything up to *number*."""
        statement = upsert(followers, key=("name",), connection=self.connection)
        self.connection.execute(statement.values(name=follower, taken=number))
