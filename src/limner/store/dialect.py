"""What differs between SQLite and PostgreSQL; the only file that may know."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Column, Connection, Engine, MetaData, Table, create_engine, event, false, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import TypeEngine

from limner.errors import ConfigurationError, MissingExtra, StoreUnavailable

if TYPE_CHECKING:
    import sqlite3

    import psycopg
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.engine.interfaces import ExceptionContext

#: One row, as a driver takes or gives it.
Row: TypeAlias = tuple[Any, ...]

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
#: The advisory lock of the process that leads, one for each schema.
_LEADER = "hashtextextended('limner leads ' || current_schema(), 0)"
#: Milliseconds that one process waits for another's transaction on SQLite.
_PATIENCE = 60_000


def open_engine(url: str) -> Engine:
    """
    The database behind *url*, ready for use.

    ``sqlite:///path``, ``sqlite://`` (in memory), or ``postgresql://user@host/database``; the latter with
    ``?schema=NAME`` keeps its tables in a schema of that name, which is made.

    Raises:
        ConfigurationError: the URL is not understood, or the database's driver is not installed.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise ConfigurationError(f"The setting `store` is no database URL: {error}") from error
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return _open_postgresql(parsed)
    known = "sqlite:///PATH, postgresql://USER@HOST/DATABASE"
    raise ConfigurationError(f"No store speaks {parsed.drivername}: (setting `store`); known are: {known}")


def _open_sqlite(url: URL) -> Engine:
    """SQLite in WAL mode, every commit on the disk before it returns."""
    from sqlalchemy.pool import StaticPool

    in_memory = url.database in (None, "", ":memory:")
    if not in_memory:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"poolclass": StaticPool}
    if not in_memory:
        # To open a connection costs more than most readings, so none is let go. The one that was used last is used
        # next, so that few of them ever fill their caches.
        options = {"pool_size": 40, "max_overflow": 0, "pool_use_lifo": True}
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
    event.listen(engine, "handle_error", _keep_interrupted)
    return engine


def _keep_interrupted(context: "ExceptionContext") -> None:
    """
    Have Ctrl-C in the middle of a statement roll back, as any error does.

    SQLAlchemy closes the connection instead, for the sake of drivers that may stand in the middle of an answer. One of
    SQLite does not end while the traceback holds one of its statements, and keeps its lock until then.
    """
    if not isinstance(context.original_exception, Exception):
        context.is_disconnect = False


def _open_postgresql(url: URL) -> Engine:
    """PostgreSQL by psycopg 3; a connection that the server has closed is noticed before it is used."""
    schema = str(url.query.get("schema", "public"))
    if not _SCHEMA.fullmatch(schema):
        raise ConfigurationError(f"{schema!r} is no name of a schema (setting `store`); use letters, digits and _.")
    if find_spec("psycopg") is None:
        raise MissingExtra(extra="postgresql", needs="A store on PostgreSQL")
    plain = url.difference_update_query(["schema"]).set(drivername="postgresql+psycopg")
    engine = create_engine(
        plain,
        pool_size=8,
        max_overflow=32,
        pool_pre_ping=True,
        connect_args={"options": f"-csearch_path={schema}", "connect_timeout": 10, "application_name": "limner"},
    )

    def prepare(connection: "psycopg.Connection[Any]", _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        connection.commit()

    if schema != "public":
        event.listen(engine, "connect", prepare)
    return engine


def on_this_machine(engine: Engine) -> bool:
    """Whether a reading waits for nothing but this machine's disk: a file in WAL mode, which no writer locks."""
    return engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:")


def begin(connection: Connection, *, writing: bool) -> None:
    """
    Begin the transaction.

    There is one writer at a time: on SQLite by its lock, taken at once instead of failing at the first write; on
    PostgreSQL by an advisory lock for each schema. A reader sees everything as of one moment.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
    elif writing:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('limner ' || current_schema(), 0))")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


class Leadership:
    """
    One process at a time leads: it holds a lock of the database for as long as its connection lives.

    On SQLite there is none: a lock file beside the database says who leads.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    @property
    def offered(self) -> bool:
        """Whether the database knows such locks."""
        return self._engine.dialect.name == "postgresql"

    def take(self) -> bool:
        """
        Try to lead; whether this process does now.

        Raises:
            StoreUnavailable: the database cannot be reached, and nobody leads.
        """
        if self._connection is not None and self._alive(self._connection):
            return True
        self.release()
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_LEADER})").scalar_one():
                self._connection = connection
                return True
            connection.close()
        except DBAPIError as error:
            raise StoreUnavailable(f"The store refused: {error.orig}") from error
        return False

    def release(self) -> None:
        """Let another process lead."""
        if self._connection is not None:
            # The lock goes with the connection, so it may not go back to the pool.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _alive(self, connection: Connection) -> bool:
        try:
            connection.exec_driver_sql("SELECT 1")
        except DBAPIError:
            return False
        return True


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


#: Fewer rows are sent one by one: to stage them takes three questions more.
_WORTH_STAGING = 32
#: What PostgreSQL's binary format calls types that SQLAlchemy calls otherwise.
_BINARY = {"FLOAT": "float8"}


def stage(
    connection: Connection, name: str, columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Row]
) -> Table | None:
    """
    *rows* in a temporary table of this transaction, where the database takes many of them faster so; else None.

    PostgreSQL copies rows in its binary format at a sixth of what it costs this process to send as many statements,
    and half of what it costs the server (docs/decisions/sqlalchemy-on-both-databases.md). SQLite has nothing faster
    than a statement that is run again and again.

    Raises:
        StoreUnavailable: the database refused.
    """
    if connection.dialect.name != "postgresql" or len(rows) < _WORTH_STAGING:
        return None
    staged = Table(
        f"staged_{name.replace(' ', '_')}",
        MetaData(),
        *(Column(column, kind) for column, kind in columns.items()),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DELETE ROWS",
    )
    connection.execute(CreateTable(staged, if_not_exists=True))
    kinds = [kind.compile(connection.dialect) for kind in columns.values()]
    try:
        cursor: Any = connection.connection.cursor()
        with closing(cursor):
            # One statement of a transaction may be run twice.
            cursor.execute(f"DELETE FROM {staged.name}")
            with cursor.copy(f"COPY {staged.name} FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types([_BINARY.get(kind, kind.lower()) for kind in kinds])
                for row in rows:
                    copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as error:
        raise StoreUnavailable(f"The store refused: {error}") from error
    return staged


def size_of(connection: Connection) -> int:
    """Bytes that the database takes."""
    if connection.dialect.name == "sqlite":
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())


def renumber(connection: Connection, table: Table) -> None:
    """Have the database number the next row of *table* after the largest key in it; SQLite does so by itself."""
    column = table.autoincrement_column
    if connection.dialect.name == "sqlite" or column is None:
        return
    largest = select(func.coalesce(func.max(column), 0)).scalar_subquery()
    sequence = func.pg_get_serial_sequence(table.name, column.name)
    connection.execute(select(func.setval(sequence, largest + 1, false())))
