"""Carries everything from one store to another, and compares what came with what was there."""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Table, delete, func, insert, select, update

from limner.domain.values import encode
from limner.errors import UsageError
from limner.store.dialect import renumber
from limner.store.schema import metadata
from limner.store.store import Store
from limner.store.work_tables import followers

#: Rows in one transaction.
PAGE = 2_000
#: Says in the target how many rows of a table came already; gone when all have.
_MARK = "moving:"
#: Digests of rows are added up in so many bits, so that no order of rows matters: databases sort text differently.
_MODULUS = 1 << 128


class Carried(Struct, frozen=True, kw_only=True):
    """How far one table is."""

    table: str
    rows: int
    of: int


class Contents(Struct, frozen=True, kw_only=True):
    """What a table holds: its rows, and a digest over all of them."""

    rows: int
    digest: str


class Mover:
    """
    One move from a store to an empty one; begun again after any end, it goes on where it was.

    Rows come in order of their keys, a page in each transaction of the target together with the count of those that
    came, all read from one moment of the source.
    """

    def __init__(self, source: Store, target: Store) -> None:
        self._source = source
        self._target = target

    def begin(self) -> None:
        """
        Make sure that the target is empty, or that a move into it was begun.

        Raises:
            UsageError: something else is in it.
        """
        with self._target.transaction() as tx:
            if self.marks(tx.connection):
                return
            for table in metadata.sorted_tables:
                if tx.connection.execute(select(*table.primary_key.columns).limit(1)).first() is not None:
                    raise UsageError(
                        f"The store to move to is not empty: it has {table.name}. Name an empty one, or empty it."
                    )
            tx.connection.execute(insert(followers), [{"name": _MARK, "taken": 0}])

    def carry(self) -> Generator[Carried, None, None]:
        """Carry what has not come yet, table by table; yields how far it is after each page."""
        with self._source.reading() as tx:
            for table in _tables():
                yield from self._carry(tx.connection, table)

    def _carry(self, source: Connection, table: Table) -> Iterator[Carried]:
        with self._target.transaction() as tx:
            came = self.marks(tx.connection).get(table.name, 0)
        total = source.execute(select(func.count()).select_from(table)).scalar_one()
        query = select(*table.c).order_by(*table.primary_key.columns).offset(came)
        for page in _pages(source, query):
            with self._target.transaction() as tx:
                tx.connection.execute(insert(table), [dict(row._mapping) for row in page])
                self._mark(tx.connection, table, came, came + len(page))
            came += len(page)
            yield Carried(table=table.name, rows=came, of=total)

    def compare(self) -> dict[str, tuple[Contents, Contents]]:
        """By table: what the source holds, and what came."""
        found = {}
        with self._source.reading() as here, self._target.reading() as there:
            for table in _tables():
                found[table.name] = (_contents(here.connection, table), _contents(there.connection, table))
        return found

    def finish(self) -> None:
        """Have the target number its own rows from here on, and forget that it was moved to."""
        with self._target.transaction() as tx:
            for table in _tables():
                renumber(tx.connection, table)
            tx.connection.execute(delete(followers).where(followers.c.name.startswith(_MARK, autoescape=True)))

    def marks(self, target: Connection) -> dict[str, int]:
        """Rows that came, by table; empty where no move was begun."""
        mine = select(followers).where(followers.c.name.startswith(_MARK, autoescape=True))
        return {name.removeprefix(_MARK): taken for name, taken in target.execute(mine).all()}

    def _mark(self, target: Connection, table: Table, before: int, after: int) -> None:
        name = _MARK + table.name
        if before:
            target.execute(update(followers).where(followers.c.name == name).values(taken=after))
        else:
            target.execute(insert(followers).values(name=name, taken=after))


def _tables() -> Sequence[Table]:
    """All tables; that of the marks last, so that its own rows are not mistaken for them."""
    return [table for table in metadata.sorted_tables if table is not followers] + [followers]


def _pages(connection: Connection, query: Any) -> Iterator[Sequence[Any]]:  # noqa: ANN401  rows of any table
    """The rows of a query, a page at a time, never more of them in memory."""
    streaming = connection.execution_options(stream_results=True, max_row_buffer=PAGE)
    with streaming.execute(query) as result:
        yield from result.partitions(PAGE)


def _contents(connection: Connection, table: Table) -> Contents:
    """What a table holds, without the marks of a move."""
    rows, total = 0, 0
    query = select(*table.c)
    if table is followers:
        query = query.where(~followers.c.name.startswith(_MARK, autoescape=True))
    for page in _pages(connection, query):
        rows += len(page)
        for row in page:
            packed = encode([_plain(value) for value in row])
            total += int.from_bytes(hashlib.blake2b(packed, digest_size=16).digest(), "big")
    return Contents(rows=rows, digest=f"{total % _MODULUS:032x}")


def _plain(value: object) -> Any:  # noqa: ANN401  what a column holds
    """A value as both databases give it."""
    return bytes(value) if isinstance(value, memoryview) else value
