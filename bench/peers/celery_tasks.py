"""
Celery's side of work A on RabbitMQ and PostgreSQL: two tiny tasks, and its own database backend.

Where both are stands in BENCH_BROKER and BENCH_STORE, by which the workers, processes of their own, find them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from celery import Celery
from celery.backends.base import KeyValueStoreBackend
from peers.program import program

STORED = "SELECT count(*) FROM celery_results"


class PostgreSQLResults(KeyValueStoreBackend):
    """Results in a table, one statement each: Celery's own backend asks SQLAlchemy four things for one result."""

    _connection: "psycopg.Connection | None" = None

    def set(self, key: bytes | str, value: bytes | str) -> None:
        """Store one."""
        if self._connection is None:
            # Only now, in the process that works: it was forked after the backend was made.
            self._connection = psycopg.connect(os.environ["BENCH_STORE"], autocommit=True)
        self._connection.execute(
            "INSERT INTO celery_results VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
            (key if isinstance(key, str) else key.decode(), value),
        )

    def get(self, key: bytes | str) -> None:
        """There is no result of a task that has not run yet, which is when Celery asks."""
        return


app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=f"{__name__}.PostgreSQLResults")
app.conf.update(
    # A publish returns when the broker has the message, and a message is acknowledged after the work, as Limner's are;
    # messages and queues are durable by default.
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    # What its documentation advises for many short tasks.
    worker_prefetch_multiplier=64,
)


@app.task
def double(n: int) -> dict[str, int]:
    """Twice *n*."""
    return {"x": 2 * n}


@app.task
def square(double: dict[str, int]) -> dict[str, int]:
    """The square of what came before."""
    return {"x": double["x"] ** 2}


def send(number: int) -> None:
    """Take one record through both."""
    (double.s(number) | square.s()).apply_async()


@contextmanager
def workers(folder: Path, *, processes: int) -> Iterator[None]:
    """A worker in *folder* with so many processes, while the block runs."""
    with psycopg.connect(os.environ["BENCH_STORE"]) as connection:
        connection.execute("CREATE TABLE celery_results (key text PRIMARY KEY, value text NOT NULL)")
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    asked = ("--concurrency", str(processes), "--loglevel", "ERROR", *alone)
    with program("celery", "-A", "peers.celery_tasks", "worker", *asked, folder=folder):
        yield
