"""The records of one online request on their way: their files come, their outcomes are gathered."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import msgspec

from limner.app.collecting import Asked, Collector
from limner.domain.failures import FailedRecord, Failure, FailureCode
from limner.domain.tasks import LocalFile, Outcome, Status
from limner.worker.cache import Hold


class Asking:
    """The records of one request on their way to outcomes."""

    def __init__(self, collector: Collector, count: int, *, told: Callable[[list[Outcome]], None]) -> None:
        """*told* is called once, in whichever thread has the last outcome."""
        self._told = told
        #: What keeps fetched files at hand until the last outcome.
        self.holds: list[Hold] = []
        self._collector = collector
        self._outcomes: list[Outcome | None] = [None] * count
        self._left = count
        self._lock = threading.Lock()
        self._first: list[Asked] | None = []

    def whole(self, rows: Sequence[Mapping[str, bytes]]) -> None:
        """
        All inputs of all records are at hand.

        Raises:
            Busy: too many records wait already.
        """
        self._collector.ask([self._asked(at, row) for at, row in enumerate(rows)])

    def ready(self, at: int, row: Mapping[str, bytes]) -> None:
        """All inputs of the record at *at* are at hand."""
        asked = self._asked(at, row)
        with self._lock:
            if self._first is not None:
                self._first.append(asked)
                return
        try:
            self._collector.ask([asked])
        except Exception as error:  # noqa: BLE001  told to whoever waits, from a thread that fetches
            self.fail(at, Failure(code=FailureCode.MODEL_UNAVAILABLE, message=str(error)))

    def submit(self) -> None:
        """Ask about all records that are ready by now, as one."""
        with self._lock:
            first, self._first = self._first, None
        if first:
            self._collector.ask(first)

    def _asked(self, at: int, row: Mapping[str, bytes]) -> Asked:
        return Asked(row=row, done=lambda outcome: self.done(at, outcome))

    def fail(self, at: int, failure: Failure) -> None:
        """The record at *at* cannot be asked about."""
        self.done(at, Outcome(index=at, status=Status.FAILED, failure=failure))

    def done(self, at: int, outcome: Outcome) -> None:
        """What became of the record at *at*."""
        with self._lock:
            if self._outcomes[at] is not None:
                return
            self._outcomes[at] = outcome
            self._left -= 1
            if self._left:
                return
        for hold in self.holds:
            hold.close()
        self._told([one for one in self._outcomes if one is not None])


class Waited:
    """The files of one record on their way."""

    def __init__(self, asking: Asking, at: int, row: dict[str, bytes]) -> None:
        self.hold = Hold()
        self._asking = asking
        self._at = at
        self._row = row
        self._left = 1
        self._failure: Failure | None = None
        self._lock = threading.Lock()

    def have(self, name: str, file: LocalFile) -> None:
        """The file of an input is at hand."""
        self._row[name] = msgspec.msgpack.encode(file)

    def wait(self, name: str, future: "Future[LocalFile]") -> None:
        """The file of an input is under way."""
        with self._lock:
            self._left += 1
        future.add_done_callback(lambda ended: self._came(name, ended))

    def begun(self) -> None:
        """No further file is to be waited for."""
        self._one_less()

    def _came(self, name: str, future: "Future[LocalFile]") -> None:
        error = future.exception()
        if error is None:
            self.have(name, future.result())
        elif isinstance(error, FailedRecord):
            self._failure = error.failure
        else:
            self._failure = Failure(code=FailureCode.SOURCE_UNAVAILABLE, message=f"{name} could not be had: {error}")
        self._one_less()

    def _one_less(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        if self._failure is not None:
            self._asking.fail(self._at, self._failure)
        else:
            self._asking.ready(self._at, self._row)
