"""A task in hand: its files are under way from the moment it is taken, and its batches come as their files do."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

import msgspec
from msgspec import Struct

from limner.bus.base import Delivery
from limner.domain.failures import FailedRecord
from limner.domain.tasks import LocalFile, Outcome, Status, Task, decode_file
from limner.worker.cache import Hold
from limner.worker.fetch import Fetcher

_NIL = b"\xc0"
#: How often a wait for a file is looked at, in seconds.
_LOOK = 0.05

_encoder = msgspec.msgpack.Encoder()


class Batch(Struct, frozen=True, kw_only=True):
    """The next records of a task, in their order."""

    #: Records whose inputs are at hand.
    positions: list[int]
    #: Records whose files could not be had.
    failed: list[Outcome]


class Prepared:
    """
    One task, whose files are being fetched.

    Batches are cut in the order of the records, whichever file comes first, so that a task that is done again meets
    the same batches: some models' last digits depend on their neighbours.
    """

    def __init__(self, task: Task, *, delivery: Delivery, fetcher: Fetcher) -> None:
        self.task = task
        self.delivery = delivery
        self.hold = fetcher.hold()
        self._fetcher = fetcher
        #: By record, what holds its files; siblings that read the same file share it.
        self._parts: list[list[Hold]] = [[] for _ in task.records]
        #: By the last record that needs them: what lets go of files that are needed no more.
        self._last_of: dict[int, Hold] = {}
        #: Where the batch begins that is at work, and whether it holds files.
        self._began = 0
        self._at_work = False
        self._columns = {name: list(column) for name, column in task.columns.items()}
        self._next = 0
        self._files: list[dict[str, Future[LocalFile]]] = [{} for _ in task.records]
        #: Why none of its records can be inferred, if so: the task itself is wrong.
        self.problem = _problem(task) or self._begin(fetcher)

    def columns(self, positions: Sequence[int]) -> dict[str, list[bytes]]:
        """The inputs of these records, files as files at hand."""
        if len(positions) == len(self.task.records):
            return self._columns
        return {name: [column[position] for position in positions] for name, column in self._columns.items()}

    def prior(self, positions: Sequence[int]) -> list[bytes]:
        """The read digests of these records' stored results."""
        return [self.task.prior[position] for position in positions]

    def next_batch(self, *, given_up: Callable[[], bool]) -> Batch | None:
        """
        Up to one batch of records that can be inferred; None at the end, or as soon as *given_up* says so.

        The batch before is done, and its files are let go.
        """
        self._end_batch()
        positions: list[int] = []
        failed: list[Outcome] = []
        while self._next < len(self.task.records) and len(positions) < self.task.runtime.batch:
            files = self._files[self._next]
            if not all(future.done() for future in files.values()):
                rest = self._parts[self._next : self._next + self.task.runtime.batch - len(positions)]
                self._fetcher.hurry(hold for holds in rest for hold in holds)
            if not _all_done(files, given_up=given_up):
                return None
            outcome = self._place(self._next, files)
            if outcome is None:
                positions.append(self._next)
            else:
                failed.append(outcome)
            self._next += 1
        if any(hold.spaces for position in positions for hold in self._parts[position]):
            self._at_work = True
            self._fetcher.room.work()
        return Batch(positions=positions, failed=failed) if positions or failed else None

    def _begin(self, fetcher: Fetcher) -> str | None:
        """Have all files fetched; what is wrong with a column of them, if anything."""
        reads = {name: read for name, read in self.task.runtime.reads.items() if read is not None}
        columns = {name: self.task.columns[name] for name in reads}
        last = {(name, value): position for name in reads for position, value in enumerate(columns[name])}
        begun: dict[tuple[str, bytes], Future[LocalFile]] = {}
        try:
            for position, files in enumerate(self._files):
                for name, read in reads.items():
                    value = columns[name][position]
                    if value == _NIL:
                        continue
                    hold = self._hold_until(last[name, value])
                    if (name, value) not in begun:
                        begun[name, value] = fetcher.begin(decode_file(value), read, hold=hold, ahead=True)
                    files[name] = begun[name, value]
                    self._parts[position].append(hold)
        except msgspec.DecodeError as error:
            return f"The task names a file that cannot be understood: {error}"
        return None

    def _hold_until(self, position: int) -> Hold:
        """What holds the files that the record at *position* is the last to need."""
        if position not in self._last_of:
            self._last_of[position] = self.hold.part()
        return self._last_of[position]

    def _end_batch(self) -> None:
        """Let go of what only records before the next one needed."""
        for position in range(self._began, self._next):
            if position in self._last_of:
                self._last_of[position].close()
        self._began = self._next
        if self._at_work:
            self._at_work = False
            self._fetcher.room.rest()

    def close(self) -> None:
        """Let go of the files; those that are not here yet are not waited for."""
        self.hold.close()
        self._end_batch()

    def _place(self, position: int, files: dict[str, Future[LocalFile]]) -> Outcome | None:
        """Put a record's files in its columns; its outcome, where one could not be had."""
        for name, future in files.items():
            try:
                self._columns[name][position] = _encoder.encode(future.result())
            except FailedRecord as failed:
                return Outcome(index=position, status=Status.FAILED, failure=failed.failure)
        return None


def _all_done(files: dict[str, Future[LocalFile]], *, given_up: Callable[[], bool]) -> bool:
    """Wait for *files*; False where nobody waits for them any more."""
    while not all(future.done() for future in files.values()):
        if given_up():
            return False
        wait(files.values(), timeout=_LOOK)
    return not given_up()


def _problem(task: Task) -> str | None:
    """What is wrong with a task's columns, so that none of its records can be inferred; None if nothing is."""
    missing = [name for name in task.runtime.reads if name not in task.columns]
    if missing:
        return f"The task lacks the column {', '.join(missing)}."
    sizes = {len(column) for column in task.columns.values()}
    sizes |= {len(task.records), len(task.keys), len(task.asked), len(task.prior)}
    return None if len(sizes) == 1 else f"The task's columns differ in length: {sorted(sizes)}."
