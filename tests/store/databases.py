"""Stores of a PostgreSQL server, each in a schema of its own that is dropped in the end."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from limner.store.connect import connect_store
from limner.store.store import Store


@contextmanager
def schema_url(server: str) -> Iterator[str]:
    """The URL of a schema on *server* that nobody else uses."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    try:
        yield f"{server}?schema={name}"
    finally:
        engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA IF EXISTS {name} CASCADE"))


@contextmanager
def store_on(server: str) -> Iterator[Store]:
    """An empty store on *server*."""
    with schema_url(server) as url:
        store = connect_store(url)
        try:
            yield store
        finally:
            store.close()
