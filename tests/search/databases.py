"""Indexes on a PostgreSQL server, each in a schema of its own that is dropped in the end."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


@contextmanager
def index_url(server: str) -> Iterator[str]:
    """The URL of an index on *server* that nobody else uses."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    try:
        yield f"{server}?schema={name}"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {name}_search CASCADE".encode())
