"""What is read of a job while it is at work: its counts at every moment, its state, how much there is."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from limner.domain.jobs import Counts, JobState
from limner.errors import StoreUnavailable
from limner.store.connect import connect_store
from limner.store.store import Store, Transaction

_T = TypeVar("_T")


class Eye:
    """Reads a store that may be away; for one thread."""

    def __init__(self, store: str) -> None:
        self._url = store
        self._store: Store | None = None

    def read(self, look: Callable[[Transaction], _T]) -> _T:
        """
        What *look* finds, all of one moment.

        Raises:
            StoreUnavailable: the store is away.
        """
        if self._store is None:
            self._store = connect_store(self._url)
        with self._store.reading() as tx:
            return look(tx)

    def close(self) -> None:
        """Look no more."""
        if self._store is not None:
            self._store.close()

    def counts(self, job: str) -> Counts:
        """A job's counts."""
        return self.read(lambda tx: tx.ledger.counts(job))

    def state(self, job: str) -> JobState:
        """How a job stands; as at work while the store is away."""
        with suppress(StoreUnavailable):
            return self.read(lambda tx: tx.jobs.get(job).state)
        return JobState.RUNNING

    def results(self) -> int:
        """How many results there are; -1 while the store is away."""
        with suppress(StoreUnavailable):
            return self.read(lambda tx: int(tx.connection.exec_driver_sql("SELECT count(*) FROM results").scalar_one()))
        return -1


class Watch(threading.Thread):
    """Reads a job's counts all the while, and notes every read that does not add up, or that falls back."""

    def __init__(self, store: str, job: str, *, records: int) -> None:
        super().__init__(name="watch", daemon=True)
        self._eye, self._job, self._records = Eye(store), job, records
        self._over = threading.Event()
        self.reads = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        """Read until told to stop; a store that is away is asked again."""
        ended, known = 0, 0
        while not self._over.wait(0.05):
            with suppress(StoreUnavailable):
                counts = self._eye.counts(self._job)
                self.reads += 1
                # A job of many records is taken in little by little.
                if not known <= counts.records <= self._records or counts.records - counts.open < ended:
                    self.wrong.append(f"{counts} after {ended} of {known} had ended")
                ended, known = counts.records - counts.open, counts.records
        self._eye.close()

    def stop(self) -> None:
        """Read no more."""
        self._over.set()
        self.join()
