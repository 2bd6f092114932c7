"""What differs between SQLite and PostgreSQL; the only file that may know."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.elements import ClauseElement

from limner.errors import ConfigurationError

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.dialects import postgresql, sqlite

#: Milliseconds that one process waits for another's transaction on SQLite.
_PATIENCE = 60_000


def open_engine(url: str) -> Engine:
    """
    The database behind *url*, ready for use: ``sqlite:///path`` or ``sqlite://`` (in memory).

    Raises:
        ConfigurationError: the URL is not understood, or the database's driver is not installed.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise ConfigurationError(f"The setting `store` is no database URL: {error}") from error
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed)
    raise ConfigurationError(f"No store speaks {parsed.drivername}: (setting `store`); known are: sqlite:///PATH")


def _open_sqlite(url: URL) -> Engine:
    """SQLite in WAL mode, every commit on the disk before it returns."""
    from sqlalchemy.pool import StaticPool

    in_memory = url.database in (None, "", ":memory:")
    if not in_memory:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"poolclass": StaticPool} if in_memory else {"pool_size": 8, "max_overflow": 32}
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": _PATIENCE / 1000}, **options)

    def prepare(connection: "sqlite3.Connection", _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "cache_size=-65536",
            "temp_store=MEMORY",
            "mmap_size=67108864",
            "wal_autocheckpoint=4000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine, "connect", prepare)
    return engine


def begin(connection: Connection, *, writing: bool) -> None:
    """Begin the transaction; a writer on SQLite takes its lock at once instead of failing at its first write."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _insert(table: Table, *, connection: Connection) -> "postgresql.Insert | sqlite.Insert":
    """An insert that may say what a conflict does; a database's module is loaded when that database is used."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def upsert(table: Table, *, key: Sequence[str], connection: Connection) -> Insert:
    """An insert that overwrites the row with the same *key*."""
    statement = _insert(table, connection=connection)
    changed = {c.name: statement.excluded[c.name] for c in table.c if c.name not in key and not c.primary_key}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changed)


def insert_missing(table: Table, *, key: Sequence[str], connection: Connection) -> Insert:
    """An insert that leaves a row with the same *key* as it is."""
    return _insert(table, connection=connection).on_conflict_do_nothing(index_elements=list(key))


class Statements:
    """Statements for many rows, compiled once: the rows go to the driver as they are."""

    def __init__(self) -> None:
        self._compiled: dict[str, tuple[str, Callable[[tuple[Any, ...]], tuple[Any, ...]] | None]] = {}

    def run(
        self,
        connection: Connection,
        name: str,
        make: Callable[[], ClauseElement],
        *,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Run what *make* makes, known as *name*, once for each of *rows*; their items are in order of *columns*."""
        if not rows:
            return
        if name not in self._compiled:
            self._compiled[name] = _compile(connection, make(), list(columns))
        text, arrange = self._compiled[name]
        connection.exec_driver_sql(text, list(rows) if arrange is None else [arrange(row) for row in rows])


def _compile(
    connection: Connection, statement: ClauseElement, columns: list[str]
) -> tuple[str, Callable[[tuple[Any, ...]], tuple[Any, ...]] | None]:
    """The statement's text, and what turns a row into its parameters, its own constants among them."""
    compiled = statement.compile(dialect=connection.dialect, column_keys=columns)
    order = list(getattr(compiled, "positiontup", None) or columns)
    if order == columns:
        return str(compiled), None
    constants = compiled.params
    parts = [(columns.index(name), None) if name in columns else (-1, constants[name]) for name in order]
    return str(compiled), lambda row: tuple(row[place] if place >= 0 else value for place, value in parts)


def size_of(connection: Connection) -> int:
    """Bytes that the database takes."""
    if connection.dialect.name == "sqlite":
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
