"""Connections to the PostgreSQL server that an index lies on, and what its refusals mean."""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.rows import TupleRow

from limner.errors import ConfigurationError, SearchUnavailable

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,55}")
#: So that the server notices within two minutes that a writer's machine is gone, and lets the next one write.
_ALIVE = "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=6"
#: Connections that wait for the next question, of one index in one process; a server has some hundred for all.
_KEPT = 4


class Server:
    """The database behind *url*; connections are opened when they are needed, and a few are kept."""

    def __init__(self, url: str) -> None:
        """
        *url* is ``postgresql://user@host/database``, with ``?schema=NAME`` for tables beside a store in that schema.

        Raises:
            ConfigurationError: the URL is not understood.
        """
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ConfigurationError(f"The setting `index` is no address of PostgreSQL: {error}") from error
        options = dict(parse_qsl(parts.query))
        store = options.pop("schema", "public")
        if not _SCHEMA.fullmatch(store):
            raise ConfigurationError(f"{store!r} is no name of a schema (setting `index`); use letters, digits and _.")
        #: The schema of the index: beside that of a store, which is moved and compared table by table.
        self.schema = f"{store}_search"
        self._address = urlunsplit(parts._replace(query=urlencode(options)))
        self._options = {"connect_timeout": "10", "application_name": "limner search", "options": _ALIVE} | options
        #: Where it lies, without user and password.
        self.where = f"in schema {self.schema} of postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._idle: list[psycopg.Connection[TupleRow]] = []
        self._lock = threading.Lock()
        self._closed = False
        try:
            psycopg.conninfo.conninfo_to_dict(self._address, **self._options)
        except psycopg.Error as error:
            raise ConfigurationError(f"The setting `index` is no address of PostgreSQL: {_said(error)}") from error

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[psycopg.Connection[TupleRow]]:
        """All or nothing; a reading one sees the database as it stood when it began."""
        connection, _ = self._first("BEGIN" if write else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise
        finally:
            self._give_back(connection)

    def ask(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of one question outside of any transaction."""
        connection, cursor = self._first(sql, values)
        try:
            return cursor.fetchall()
        finally:
            self._give_back(connection)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Let what the server and this machine's files complain of be an index that is unavailable."""
        try:
            yield
        except psycopg.errors.InsufficientPrivilege as error:
            raise SearchUnavailable(
                f"The search index {self.where} may not be used: {_said(error)}. Let its owner grant that, or make the "
                f"schema for the user: CREATE SCHEMA {self.schema} AUTHORIZATION …"
            ) from error
        except psycopg.Error as error:
            raise SearchUnavailable(f"The search index {self.where} cannot be used: {_said(error)}.") from error
        except OSError as error:
            raise SearchUnavailable(f"Copies of the search index {self.where} cannot be kept: {error}.") from error

    def close(self) -> None:
        """Let go of connections; one that is in use is let go of by who uses it."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _first(
        self, sql: str, values: Sequence[object] = ()
    ) -> tuple[psycopg.Connection[TupleRow], psycopg.Cursor[TupleRow]]:
        """A connection that has done *sql*; one that the server let go of meanwhile is replaced."""
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            connection = kept or psycopg.connect(self._address, autocommit=True, **self._options)  # type: ignore[arg-type]  # all are texts
            try:
                return connection, connection.execute(sql.encode(), values or None, binary=True)
            except psycopg.Error:
                broken = connection.broken
                self._give_back(connection)
                if kept is None or not broken:
                    raise

    def _give_back(self, connection: psycopg.Connection[TupleRow]) -> None:
        with self._lock:
            idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            keep = idle and not self._closed and not connection.broken and len(self._idle) < _KEPT
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()


def _said(error: psycopg.Error) -> str:
    """What the server said, on one line."""
    return " ".join((error.diag.message_primary or str(error)).split()).rstrip(".?")
