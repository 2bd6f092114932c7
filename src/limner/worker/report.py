"""What a worker says of one task: outcomes as they come, and the end of it."""

import threading
import time
from collections.abc import Callable, Iterable

from msgspec import structs

from limner.clock import Clock
from limner.domain.failures import LOCAL_FILE, Failure, FailureCode
from limner.domain.tasks import STOPPING, Answer, FromWorker, Outcome, Released, Status, Task, decode_file
from limner.worker.cache import Hold

#: Outcomes are sent when the first of them has waited so long, in seconds; with the wait for a tick, one second.
_OFTEN = 0.75
#: An answer holds no more bytes of values, unless one record has more alone.
_MOST_BYTES = 4_000_000
#: What a file that cannot be read fails with.
_OF_SOURCES = (FailureCode.SOURCE_TRUNCATED, FailureCode.SOURCE_WRONG_TYPE)


class Report:
    """
    Gathers the outcomes of one task and sends them at least every second, the rest with the last answer.

    Large values travel in several answers, so that no message grows beyond what a server takes in. Shared by the thread
    that works and the one that ticks.
    """

    def __init__(
        self, task: Task, *, worker: str, send: Callable[[FromWorker], None], clock: Clock, hold: Hold
    ) -> None:
        self.task = task
        self._worker = worker
        self._send = send
        self._clock = clock
        self._hold = hold
        self._lock = threading.Lock()
        self._open = set(range(len(task.records)))
        self._gathered: list[Outcome] = []
        self._bytes = 0
        self._began = clock.now()
        self._seconds = 0.0
        self._downloads = 0
        self._since = 0.0
        self._ended = False
        #: Records that were answered.
        self.answered = 0
        #: Why the task could not be run at all, if so.
        self.trouble: str | None = None
        #: When anything last happened to it, on the monotonic clock; None while it waits for its turn.
        self.moved: float | None = None

    def begin(self) -> None:
        """Count from now: the task has waited for its turn until here."""
        with self._lock:
            self._began = self._clock.now()
            self.moved = time.monotonic()

    def cancel(self) -> None:
        """Say nothing more: nobody waits for the task."""
        with self._lock:
            self._ended = True

    @property
    def ended(self) -> bool:
        """Whether nothing more is said."""
        return self._ended

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Gather *outcomes*; what has one already keeps it."""
        with self._lock:
            self.moved = time.monotonic()
            if not self._gathered:
                self._since = time.monotonic()
            for outcome in outcomes:
                if outcome.index in self._open:
                    self._open.remove(outcome.index)
                    self._gather(_placed(outcome, self.task))

    def spend(self, seconds: float) -> None:
        """Count *seconds* of inferring."""
        with self._lock:
            self.moved = time.monotonic()
            self._seconds += seconds

    def tick(self) -> None:
        """Send what was gathered, if it has waited long enough."""
        with self._lock:
            if self._gathered and time.monotonic() - self._since >= _OFTEN and not self._ended:
                self._answer(last=False)

    def finish(self) -> None:
        """Send the last answer."""
        with self._lock:
            if not self._ended:
                self._answer(last=True)
            self._ended = True

    def fail_the_rest(self, failure: Failure) -> None:
        """Give what has no outcome yet this failure, and finish."""
        with self._lock:
            rest = sorted(self._open)
        self.add(Outcome(index=index, status=Status.FAILED, failure=failure) for index in rest)
        self.finish()

    def release(self, reason: str) -> None:
        """Send what was gathered, and give the rest back unharmed."""
        with self._lock:
            self.trouble = None if reason == STOPPING else reason
            if self._ended:
                return
            if self._gathered:
                self._answer(last=not self._open)
            if self._open:
                self._send(Released(worker=self._worker, task=self.task.id, attempt=self.task.attempt, reason=reason))
            self._ended = True

    def _gather(self, outcome: Outcome) -> None:
        """Take *outcome* in, after an answer with those before it where they would be too large together."""
        size = len(outcome.value)
        if self._gathered and self._bytes + size > _MOST_BYTES:
            self._answer(last=False)
        self._gathered.append(outcome)
        self._bytes += size

    def _answer(self, *, last: bool) -> None:
        downloads = self._hold.downloads
        self.answered += len(self._gathered)
        self._send(
            Answer(
                task=self.task.id,
                attempt=self.task.attempt,
                worker=self._worker,
                outcomes=self._gathered,
                keys=[self.task.keys[outcome.index] for outcome in self._gathered],
                asked=[self.task.asked[outcome.index] for outcome in self._gathered],
                started=self._began,
                seconds=self._seconds,
                last=last,
                downloads=downloads - self._downloads,
            )
        )
        self._gathered = []
        self._bytes = 0
        self._began = self._clock.now()
        self._seconds = 0.0
        self._downloads = downloads


def _placed(outcome: Outcome, task: Task) -> Outcome:
    """*outcome*, with a file that could not be read told to be of this machine where all that it read is."""
    failure = outcome.failure
    if failure is None or failure.reason or failure.code not in _OF_SOURCES:
        return outcome
    names = [name for name, read in task.runtime.reads.items() if read is not None]
    addresses = [decode_file(task.columns[name][outcome.index]).url for name in names]
    if not addresses or not all(address.startswith(("file:", "/")) for address in addresses):
        return outcome
    return structs.replace(outcome, failure=structs.replace(failure, reason=LOCAL_FILE))
