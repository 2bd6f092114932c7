"""Idempotency keys: which job a request with a key made, so that the request repeated makes no other."""

from sqlalchemy import delete, select

from limner.errors import KeyReused
from limner.store.base import Noun
from limner.store.dialect import insert_missing
from limner.store.door_tables import idempotency


class Idempotency(Noun):
    """Idempotency keys, within one transaction."""

    def find(self, key: str, *, request: bytes) -> str | None:
        """
        The job that a request with *key* made; None if the key is new. *request* is the request's digest.

        Raises:
            KeyReused: the key came with another request.
        """
        query = select(idempotency.c.request, idempotency.c.job).where(idempotency.c.key == key)
        row = self.connection.execute(query).first()
        if row is None:
            return None
        if row.request != request:
            raise KeyReused(
                f"The idempotency key {key!r} was used for another request; repeat that request exactly, "
                "or give this one a key of its own."
            )
        return str(row.job)

    def claim(self, key: str, *, request: bytes, job: str, at: float) -> str:
        """
        Let *key* stand for *job*, unless it stands for one already; the job that it stands for now.

        Raises:
            KeyReused: the key came with another request.
        """
        row = {"key": key, "request": request, "job": job, "created": at}
        self.connection.execute(insert_missing(idempotency, key=("key",), connection=self.connection).values(**row))
        return self.find(key, request=request) or job

    def forget(self, *, before: float) -> int:
        """Forget the keys that came before a time; how many."""
        return self.connection.execute(delete(idempotency).where(idempotency.c.created < before)).rowcount
