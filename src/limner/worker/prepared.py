"""A task in hand: its files are under way from the moment it is taken, and its batches come as their files do."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait

import msgspec
from msgspec import Struct

from limner.bus.base import Delivery
from limner.domain.failures import FailedRecord
from limner.domain.tasks import LocalFile, Outcome, Status, Task, decode_file
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
        """Up to one batch of records that can be inferred; None at the end, or as soon as *given_up* says so."""
        positions: list[int] = []
        failed: list[Outcome] = []
        while self._next < len(self.task.records) and len(positions) < self.task.runtime.batch:
            files = self._files[self._next]
            if not _all_done(files, given_up=given_up):
                return None
            outcome = self._place(self._next, files)
            if outcome is None:
                positions.append(self._next)
            else:
                failed.append(outcome)
            self._next += 1
        return Batch(positions=positions, failed=failed) if positions or failed else None

    def _begin(self, fetcher: Fetcher) -> str | None:
        """Have all files fetched; what is wrong with a column of them, if anything."""
        try:
            for name, read in self.task.runtime.reads.items():
                for position, value in enumerate(self.task.columns[name] if read else ()):
                    if value != _NIL and read:
                        self._files[position][name] = fetcher.begin(decode_file(value), read, hold=self.hold)
        except msgspec.DecodeError as error:
            return f"The task names a file that cannot be understood: {error}"
        return None

    def close(self) -> None:
        """Let go of the files; those that are not here yet are not waited for."""
        self.hold.close()

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
