"""What every noun of the store leans on: a connection, bulk statements, ranges of keys."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Update, and_, insert, update
from sqlalchemy.sql.dml import Insert

from limner.store.dialect import Row
from limner.store.statements import Given, Statements
from limner.store.work_tables import sequences

#: Most parameters in one IN list.
_WIDEST = 900


class Noun:
    """Queries about one noun, within one transaction."""

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self.connection = connection
        self._statements = statements

    def insert_all(self, name: str, make: Callable[[], Insert], *, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert *rows*, items in order of *columns*, as what *make* makes says; *name* stands for it in the cache."""
        self._statements.insert(self.connection, name, make, columns=columns, rows=rows)

    def update_all(
        self, name: str, make: Callable[[Given], Update], *, columns: Mapping[str, Column[Any]], rows: Sequence[Row]
    ) -> None:
        """Run the update that *make* makes once for each of *rows*; *name* stands for it in the cache."""
        self._statements.update(self.connection, name, make, columns=columns, rows=rows)

    def rows(self, query: "Select[tuple[Any, ...]]") -> list[tuple[Any, ...]]:
        """The driver's own rows of a query whose columns need no conversion: for what is read by the thousand."""
        result = self.connection.execute(query)
        found = result.cursor.fetchall()
        result.close()
        return list(found)

    def allocate(self, name: str, count: int) -> int:
        """The first of *count* keys of table *name* that nobody else gets."""
        if not count:
            return 0
        grow = update(sequences).where(sequences.c.name == name).values(next=sequences.c.next + count)
        after = self.connection.execute(grow.returning(sequences.c.next)).scalar_one_or_none()
        if after is None:
            self.connection.execute(insert(sequences).values(name=name, next=count + 1))
            return 1
        return int(after) - count

    def spans(self, column: ColumnElement[int], keys: "Sequence[int] | array[int]") -> Iterator[ColumnElement[bool]]:
        """Clauses that together hold for *keys*: a range where they are dense, else lists."""
        ordered = sorted(keys)
        if not ordered:
            return
        if ordered[-1] - ordered[0] + 1 == len(set(ordered)):
            yield and_(column >= ordered[0], column <= ordered[-1])
            return
        for start in range(0, len(ordered), _WIDEST):
            yield column.in_(ordered[start : start + _WIDEST])
