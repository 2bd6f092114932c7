"""Search on PostgreSQL: one index for all servers, words as tsvectors, vectors compared on each machine."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
import psycopg
from psycopg.rows import TupleRow

from limner.errors import IllegalMove, NotFound
from limner.search.lexemes import Lexer
from limner.search.mapping import Mapping as SearchMapping
from limner.search.postgresql_layout import TABLES, create_generation, create_list, prefix
from limner.search.postgresql_place import PostgresqlPlace
from limner.search.postgresql_server import Server
from limner.search.tabled import GenerationList, TabledSearch
from limner.search.tables import Known


class PostgresqlSearch(TabledSearch):
    """The index called *name* in the database behind *url*."""

    def __init__(self, url: str, *, name: str, graph_from: int = 20_000, threads: int = 0) -> None:
        """The other arguments are those of every index in tables."""
        super().__init__(PostgresqlGenerations(Server(url), name=name), graph_from=graph_from, threads=threads)

    def folders(self) -> list[Path]:
        """The folders of this machine that hold copies now."""
        places = (held.place for held in self._held.values())
        return [place.folder for place in places if isinstance(place, PostgresqlPlace) and place.copied]


class PostgresqlGenerations(GenerationList):
    """The generations of the index called *name* on *server*: each has tables of its own, so it goes at once."""

    def __init__(self, server: Server, *, name: str) -> None:
        self.where = f"{name} {server.where}"
        self._server = server
        self._name = name
        self._mappings: dict[int, SearchMapping] = {}
        self._lexers: dict[int, Lexer] = {}

    def create(self, mapping: SearchMapping, *, versions: Mapping[str, str]) -> int:
        """Make the tables of one more, and list it."""
        schema = self._server.schema
        with self._server.translated(), self._server.transaction(write=True) as connection:
            create_list(connection, schema=schema)
            [(number,)] = connection.execute(
                f"INSERT INTO {schema}.generations (name, mapping) VALUES (%s, %s) RETURNING number".encode(),
                (self._name, msgspec.json.encode(mapping)),
            ).fetchall()
            create_generation(connection, before=prefix(schema, number), mapping=mapping, versions=versions)
            return int(number)

    def known(self) -> list[Known]:
        """All of them, by number."""
        sql = f"SELECT number, current, mapping FROM {self._server.schema}.generations WHERE name = %s ORDER BY number"
        with self._server.translated():
            try:
                rows = self._server.ask(sql, (self._name,))
            except psycopg.errors.UndefinedTable:
                # No index was ever made here.
                return []
        return [
            Known(number=number, current=current, mapping=self._mapping(number, encoded=mapping))
            for number, current, mapping in rows
        ]

    def switch(self, number: int) -> None:
        """Let generation *number* be the current one."""
        table = f"{self._server.schema}.generations"
        with self._changing() as connection:
            connection.execute(
                f"UPDATE {table} SET current = false WHERE name = %s AND current".encode(), (self._name,)
            )
            switched = connection.execute(
                f"UPDATE {table} SET current = true WHERE name = %s AND number = %s".encode(), (self._name, number)
            )
            if not switched.rowcount:
                raise NotFound(f"There is no generation {number} of this index; it was dropped just now.")
            # The server plans by statistics, which it would take only minutes after the filling.
            before = prefix(self._server.schema, number)
            connection.execute(f"ANALYZE {before}documents, {before}facts, {before}words".encode())

    def drop(self, number: int) -> None:
        """Drop the tables of generation *number*, once those who read it now have finished their query."""
        before = prefix(self._server.schema, number)
        with self._changing() as connection:
            dropped = connection.execute(
                f"DELETE FROM {self._server.schema}.generations WHERE number = %s AND NOT current".encode(), (number,)
            )
            if not dropped.rowcount:
                raise IllegalMove(f"Generation {number} answers queries; switch to another before it is dropped.")
            # Every transaction asks this table first: who waits here holds no other that we would wait for.
            connection.execute(f"LOCK TABLE {before}state IN ACCESS EXCLUSIVE MODE".encode())
            connection.execute(f"DROP TABLE {', '.join(before + table for table in TABLES)}".encode())

    def place(self, known: Known) -> PostgresqlPlace:
        """The tables of *known*, with a lexer for as many texts as they hold."""
        columns = len(known.mapping.text) + 1
        if columns not in self._lexers:
            self._lexers[columns] = Lexer(columns=columns)
        before = prefix(self._server.schema, known.number)
        return PostgresqlPlace(self._server, before=before, lexer=self._lexers[columns])

    def translated(self) -> AbstractContextManager[None]:
        """Let what the server complains of be an index that is unavailable."""
        return self._server.translated()

    def close(self) -> None:
        """Let go of connections."""
        self._server.close()
        for lexer in self._lexers.values():
            lexer.close()

    @contextmanager
    def _changing(self) -> Iterator[psycopg.Connection[TupleRow]]:
        """A transaction beside which nobody else switches or drops generations of this index."""
        sql = f"SELECT FROM {self._server.schema}.generations WHERE name = %s ORDER BY number FOR UPDATE"
        with self._server.translated(), self._server.transaction(write=True) as connection:
            connection.execute(sql.encode(), (self._name,))
            yield connection

    def _mapping(self, number: int, *, encoded: bytes) -> SearchMapping:
        """The mapping of a generation, which never changes, decoded once."""
        if number not in self._mappings:
            self._mappings[number] = msgspec.json.decode(encoded, type=SearchMapping)
        return self._mappings[number]
