"""What an index looks like in a schema of PostgreSQL: the list of generations, and each one's tables."""

from collections.abc import Mapping

from psycopg import Connection
from psycopg.rows import TupleRow

from limner.search.mapping import Mapping as SearchMapping
from limner.search.tables import path_codes

#: Bytes of a value that its index holds: PostgreSQL indexes no value of more than about 2700.
START = 64
TABLES = ("state", "measures", "paths", "vectors", "documents", "facts", "words", "blocks", "graphs")

_GENERATIONS = """
CREATE TABLE IF NOT EXISTS {schema}.generations (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    current boolean NOT NULL DEFAULT false,
    mapping bytea NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_is_current ON {schema}.generations (name) WHERE current;
"""
# Measures are what BM25 asks of all documents. A text of many words has several rows of words. Blocks are float32 rows
# of the slots from `first` on; they and graphs do not compress, so the server need not try.
_GENERATION = """
CREATE TABLE {g}state (remembered bigint NOT NULL, changes bigint NOT NULL, slots bigint NOT NULL);
INSERT INTO {g}state VALUES (0, 0, 0);
CREATE TABLE {g}measures (documents bigint NOT NULL, words bigint NOT NULL);
INSERT INTO {g}measures VALUES (0, 0);
CREATE TABLE {g}paths (code smallint PRIMARY KEY, path text NOT NULL UNIQUE);
CREATE TABLE {g}vectors (
    code smallint PRIMARY KEY,
    length integer,
    version text,
    graph text,
    covered bigint NOT NULL DEFAULT 0
);
CREATE TABLE {g}documents (
    slot bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    digest text NOT NULL,
    vectors text NOT NULL,
    complete boolean NOT NULL,
    versions bytea NOT NULL,
    body bytea NOT NULL
);
CREATE TABLE {g}facts (code smallint NOT NULL, value bytea NOT NULL, slot bigint NOT NULL);
CREATE INDEX ON {g}facts (code, substr(value, 1, {start}), slot);
CREATE INDEX ON {g}facts (slot);
CREATE TABLE {g}words (
    slot bigint NOT NULL, field smallint NOT NULL, length integer NOT NULL, vector tsvector NOT NULL
);
CREATE INDEX ON {g}words USING gin (vector);
CREATE INDEX ON {g}words (slot);
CREATE TABLE {g}blocks (code smallint NOT NULL, first bigint NOT NULL, data bytea NOT NULL, PRIMARY KEY (code, first));
ALTER TABLE {g}blocks ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE {g}graphs (name text NOT NULL, part integer NOT NULL, data bytea NOT NULL, PRIMARY KEY (name, part));
ALTER TABLE {g}graphs ALTER COLUMN data SET STORAGE EXTERNAL;
"""


def prefix(schema: str, number: int) -> str:
    """What the names of a generation's tables begin with."""
    return f"{schema}.g{number}_"


def create_list(connection: Connection[TupleRow], *, schema: str) -> None:
    """Make the list of generations where there is none; a schema that somebody made for us need not be made."""
    # Two processes that make it at a time would both find that it is not there.
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('limner index ' || %s, 0))", (schema,))
    there = connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone()
    if there is None:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    if connection.execute("SELECT to_regclass(%s)::text", (f"{schema}.generations",)).fetchone() == (None,):
        connection.execute(_GENERATIONS.format(schema=schema).encode())


def create_generation(
    connection: Connection[TupleRow], *, before: str, mapping: SearchMapping, versions: Mapping[str, str]
) -> None:
    """Make the empty tables of a generation, whose names begin with *before*."""
    connection.execute(_GENERATION.format(g=before, start=START).encode())
    paths = path_codes(mapping)
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {before}paths VALUES (%s, %s)".encode(), list(enumerate(paths)))
        cursor.executemany(
            f"INSERT INTO {before}vectors (code, length, version) VALUES (%s, %s, %s)".encode(),
            [(paths.index(path), length, versions.get(path)) for path, length in mapping.vectors.items()],
        )
