"""Statements for many rows: compiled once, the rows handed to the driver as they are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Update, bindparam, select
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.elements import ClauseElement

from limner.errors import StoreUnavailable
from limner.store.dialect import Row, stage

#: Stands for what a row holds under a name, in a statement that is run for each of many rows.
Given: TypeAlias = Callable[[str], ColumnElement[Any]]
#: The parameters of one row, as the driver takes them.
_Parameters: TypeAlias = tuple[Any, ...] | dict[str, Any]


class Statements:
    """The statements of one store; what is made under a name is made once."""

    def __init__(self) -> None:
        self._compiled: dict[str, tuple[str, Callable[[Row], _Parameters] | None]] = {}
        self._staged: dict[str, Insert | Update] = {}

    def insert(
        self,
        connection: Connection,
        name: str,
        make: Callable[[], Insert],
        *,
        columns: Sequence[str],
        rows: Sequence[Row],
    ) -> None:
        """Insert *rows*, whose items are in order of *columns*, as what *make* makes, known as *name*, says."""
        if not rows:
            return
        table = make().table
        staged = stage(connection, name, {column: table.c[column].type for column in columns}, rows)
        if staged is None:
            self._each(connection, name, lambda: make().values({c: bindparam(c) for c in columns}), columns, rows)
            return
        if name not in self._staged:
            self._staged[name] = make().from_select(list(columns), select(*staged.c))
        connection.execute(self._staged[name])

    def update(
        self,
        connection: Connection,
        name: str,
        make: Callable[[Given], Update],
        *,
        columns: Mapping[str, Column[Any]],
        rows: Sequence[Row],
    ) -> None:
        """
        Run what *make* makes, known as *name*, once for each of *rows*.

        Their items are in order of *columns*, which says for each name of which column's kind it is; what *make* is
        given stands for them.
        """
        if not rows:
            return
        staged = stage(connection, name, {given: column.type for given, column in columns.items()}, rows)
        if staged is None:
            self._each(connection, name, lambda: make(bindparam), list(columns), rows)
            return
        if name not in self._staged:
            self._staged[name] = make(lambda given: staged.c[given])
        connection.execute(self._staged[name])

    def read(
        self,
        connection: Connection,
        name: str,
        make: Callable[[], ClauseElement],
        *,
        columns: Sequence[str],
        row: Row,
    ) -> list[Row]:
        """
        The driver's own rows of what *make* makes, known as *name*, with the parameters *row* in order of *columns*.

        The driver is asked directly: for questions so short that SQLAlchemy's own part would be most of them.

        Raises:
            StoreUnavailable: the database refused.
        """
        text, arrange = self._text(connection, name, make, columns)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text, row if arrange is None else arrange(row))
            return list(cursor.fetchall())
        except connection.dialect.loaded_dbapi.Error as error:
            raise StoreUnavailable(f"The store refused: {error}") from error
        finally:
            cursor.close()

    def _each(
        self,
        connection: Connection,
        name: str,
        make: Callable[[], ClauseElement],
        columns: Sequence[str],
        rows: Sequence[Row],
    ) -> None:
        """Have the driver run a statement for one row after the other."""
        text, arrange = self._text(connection, name, make, columns)
        given: Any = list(rows) if arrange is None else [arrange(row) for row in rows]
        connection.exec_driver_sql(text, given)

    def _text(
        self, connection: Connection, name: str, make: Callable[[], ClauseElement], columns: Sequence[str]
    ) -> tuple[str, Callable[[Row], _Parameters] | None]:
        if name not in self._compiled:
            self._compiled[name] = _compile(connection, make(), list(columns))
        return self._compiled[name]


def _compile(
    connection: Connection, statement: ClauseElement, columns: list[str]
) -> tuple[str, Callable[[Row], _Parameters] | None]:
    """The statement's text, and what turns a row into its parameters, its own constants among them."""
    compiled = statement.compile(dialect=connection.dialect, column_keys=columns)
    constants = compiled.params
    if not connection.dialect.positional:
        own = {name: value for name, value in constants.items() if name not in columns}
        return str(compiled), lambda row: {**own, **dict(zip(columns, row, strict=True))}
    order = list(getattr(compiled, "positiontup", None) or columns)
    if order == columns:
        return str(compiled), None
    parts = [(columns.index(name), None) if name in columns else (-1, constants[name]) for name in order]
    return str(compiled), lambda row: tuple(row[place] if place >= 0 else value for place, value in parts)
