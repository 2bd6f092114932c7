"""
Dramatiq's side of work A on RabbitMQ and PostgreSQL: two tiny actors, and results that are safe when it says so.

Where both are stands in BENCH_BROKER and BENCH_STORE, by which the workers, processes of their own, find them.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dramatiq
import psycopg
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import ResultBackend, Results
from peers.program import program

STORED = "SELECT count(*) FROM dramatiq_results"


class PostgreSQLResults(ResultBackend):
    """Results in a table: dramatiq brings backends that keep them in memory alone."""

    _own = threading.local()

    def _store(self, message_key: str, result: object, ttl: int) -> None:
        if not hasattr(self._own, "connection"):
            self._own.connection = psycopg.connect(os.environ["BENCH_STORE"], autocommit=True)
        self._own.connection.execute(
            "INSERT INTO dramatiq_results VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
            (message_key, self.encoder.encode(result)),
        )


# A publish returns when the broker has the message, as Limner's does; messages and queues are durable by default, and
# acknowledged after the work.
broker = RabbitmqBroker(url=os.environ["BENCH_BROKER"], confirm_delivery=True)
broker.add_middleware(Results(backend=PostgreSQLResults()))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def double(n: int) -> dict[str, int]:
    """Twice *n*."""
    return {"x": 2 * n}


@dramatiq.actor(store_results=True)
def square(double: dict[str, int]) -> dict[str, int]:
    """The square of what came before."""
    return {"x": double["x"] ** 2}


def send(number: int) -> None:
    """Take one record through both."""
    dramatiq.pipeline([double.message(number), square.message()]).run()


@contextmanager
def workers(folder: Path, *, processes: int) -> Iterator[None]:
    """Workers in *folder*, with the eight threads each that dramatiq has by default, while the block runs."""
    with psycopg.connect(os.environ["BENCH_STORE"]) as connection:
        connection.execute("CREATE TABLE dramatiq_results (key text PRIMARY KEY, value bytea NOT NULL)")
    with program("dramatiq", "peers.dramatiq_tasks", "--processes", str(processes), folder=folder):
        yield
