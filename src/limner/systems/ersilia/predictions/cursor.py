"""How far a job was published: which batches each place has, so that a publisher that was stopped goes on there."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from limner.store.dialect import upsert
from limner.systems.ersilia.predictions.tables import published

#: Begins a transaction: ``begun(writing=True)``.
Begun: TypeAlias = Callable[..., AbstractContextManager[Connection]]


class Outcome(Struct, frozen=True, kw_only=True):
    """What one batch came to in one place."""

    #: The process that wrote it: machine and number.
    worker: str
    #: Seconds since the epoch.
    began: float
    ended: float
    #: Rows, or keys, that the place was given.
    rows: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    #: Rows that the place could not hold.
    refused: int = 0
    #: How many rows ended how, where this is told of the batch itself.
    states: dict[str, int] = msgspec.field(default_factory=dict)
    #: Values that are none, by column, where there are any.
    nulls: dict[str, int] = msgspec.field(default_factory=dict)
    #: Lines of the file of rows set aside.
    aside: bytes = b""


#: In the place of a batch: a row that says which numbers are a job's.
_RESERVED = -1

_outcome = msgspec.msgpack.Decoder(Outcome)


class Cursor:
    """Outcomes by job, place and batch; a batch has one once it is written and on the disk."""

    def __init__(self, begun: Begun) -> None:
        self._begun = begun

    def mark(self, job: str, place: str, batch: int, outcome: Outcome) -> None:
        """Note that *place* has the batch."""
        row = {"job": job, "place": place, "batch": batch, "outcome": msgspec.msgpack.encode(outcome)}
        with self._begun(writing=True) as connection:
            connection.execute(upsert(published, key=("job", "place", "batch"), connection=connection).values(row))

    def places(self, job: str, batch: int) -> frozenset[str]:
        """The places that have the batch."""
        query = select(published.c.place).where(published.c.job == job, published.c.batch == batch)
        with self._begun(writing=False) as connection:
            return frozenset(place for (place,) in connection.execute(query))

    def outcomes(self, job: str, place: str) -> dict[int, Outcome]:
        """What the batches came to in one place, in their order."""
        query = select(published.c.batch, published.c.outcome).order_by(published.c.batch)
        with self._begun(writing=False) as connection:
            found = connection.execute(query.where(published.c.job == job, published.c.place == place)).all()
        return {batch: _outcome.decode(outcome) for batch, outcome in found}

    def reserve(self, job: str, place: str, *, after: int, count: int) -> int:
        """
        The first of *count* numbers that no other job has in *place*, all above *after*; the same when asked again.
        """
        query = select(published.c.job, published.c.outcome)
        with self._begun(writing=True) as connection:
            found = connection.execute(query.where(published.c.place == place, published.c.batch == _RESERVED))
            taken = {job: _outcome.decode(outcome) for job, outcome in found}
            if job in taken:
                return taken[job].new
            first = max([after + 1, *(one.new + one.rows for one in taken.values())])
            noted = msgspec.msgpack.encode(Outcome(worker="", began=0.0, ended=0.0, new=first, rows=count))
            connection.execute(insert(published).values(job=job, place=place, batch=_RESERVED, outcome=noted))
        return first

    def reserved(self, job: str, place: str) -> int | None:
        """What :meth:`reserve` answered; None where it was not asked."""
        found = self.outcomes(job, place).get(_RESERVED)
        return None if found is None else found.new

    def forget(self, job: str) -> None:
        """Let the job be published anew."""
        with self._begun(writing=True) as connection:
            connection.execute(delete(published).where(published.c.job == job))
