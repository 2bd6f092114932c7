"""What is heard of workers, written down seldom: a call of one costs no transaction of its own."""

import threading
from collections.abc import Sequence

from msgspec import Struct

from limner.clock import Clock
from limner.domain.tasks import Answer, FromWorker
from limner.store.store import Store, Transaction

#: A worker's calls are written down at most so often, in seconds.
_OFTEN = 2.0


class _Heard(Struct):
    """What a worker did since it was last written down."""

    written: float = 0.0
    heard: float = 0.0
    records: int = 0
    seconds: float = 0.0


class Heard:
    """Counts what workers answer; shared by threads."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._workers: dict[str, _Heard] = {}

    def answers(self, worker: str, messages: Sequence[FromWorker]) -> None:
        """Count what a worker answered."""
        answers = [message for message in messages if isinstance(message, Answer)]
        with self._lock:
            heard = self._workers.setdefault(worker, _Heard())
            heard.records += sum(len(answer.outcomes) for answer in answers)
            heard.seconds += sum(answer.seconds for answer in answers)
        self.seen(worker)

    def introduced(self, worker: str) -> None:
        """A worker's hello was written down just now."""
        with self._lock:
            self._workers.setdefault(worker, _Heard()).written = self._clock.now()

    def seen(self, worker: str) -> None:
        """
        Write down that a worker was heard of, unless that was done just now.

        The others that were heard of meanwhile are written down along with it: a transaction for each of hundreds
        of workers that poll would keep the store from everything else.
        """
        now = self._clock.now()
        with self._lock:
            mine = self._workers.setdefault(worker, _Heard())
            mine.heard = now
            if 0 <= now - mine.written < _OFTEN:
                return
            due = {name: one.heard for name, one in self._workers.items() if one is mine or one.heard > one.written}
            for name in due:
                self._workers[name].written = now
        with self._store.transaction() as tx:
            for name, heard in due.items():
                tx.workers.seen(name, now=heard)
                self.write(tx, name, now=now)

    def write(self, tx: Transaction, worker: str, *, now: float) -> None:
        """Write what a worker did since the last time."""
        with self._lock:
            heard = self._workers.setdefault(worker, _Heard())
            records, seconds = heard.records, heard.seconds
            heard.written, heard.records, heard.seconds = now, 0, 0.0
        if records:
            tx.workers.progressed(worker, records=records, seconds=seconds, now=now)
