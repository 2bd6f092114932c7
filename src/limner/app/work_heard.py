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

    def seen(self, worker: str) -> None:
        """Write down that a worker was heard of, unless that was done just now."""
        now = self._clock.now()
        with self._lock:
            heard = self._workers.setdefault(worker, _Heard())
            if 0 <= now - heard.written < _OFTEN:
                return
        with self._store.transaction() as tx:
            tx.workers.seen(worker, now=now)
            self.write(tx, worker, now=now)

    def write(self, tx: Transaction, worker: str, *, now: float) -> None:
        """Write what a worker did since the last time."""
        with self._lock:
            heard = self._workers.setdefault(worker, _Heard())
            records, seconds = heard.records, heard.seconds
            heard.written, heard.records, heard.seconds = now, 0, 0.0
        if records:
            tx.workers.progressed(worker, records=records, seconds=seconds, now=now)
