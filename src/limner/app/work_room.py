"""How much of what waits fits one question for tasks: so many records, and bytes as far as sizes are known."""

from collections.abc import Mapping

from limner.app.work_wire import TakeAsk, files_of
from limner.domain.tasks import Task


class Room:
    """What one question for tasks leaves room for."""

    def __init__(self, ask: TakeAsk) -> None:
        self._records = ask.max_records
        self._bytes = ask.max_bytes
        self._first = True

    def fit(self, task: Task, *, sizes: Mapping[str, int]) -> int:
        """How many records of *task* still fit; of the first one at least one, or nothing would ever be done."""
        fits = len(task.keys)
        if self._records is not None:
            fits = min(fits, self._records)
        if self._bytes is not None:
            fits = min(fits, self._within(task, sizes))
        if self._first:
            fits = max(1, fits)
        elif fits < len(task.keys):
            # Only the first is cut: another one is better given whole to somebody else.
            return 0
        self._first = False
        self._spend(task, fits, sizes)
        return fits

    def _within(self, task: Task, sizes: Mapping[str, int]) -> int:
        """How many records come before the bytes that are left are used up."""
        left = self._bytes or 0
        for at, size in enumerate(_weights(task, sizes)):
            left -= size
            if left < 0:
                return at
        return len(task.keys)

    def _spend(self, task: Task, count: int, sizes: Mapping[str, int]) -> None:
        if self._records is not None:
            self._records = max(0, self._records - count)
        if self._bytes is not None:
            self._bytes = max(0, self._bytes - sum(_weights(task, sizes)[:count]))


def _weights(task: Task, sizes: Mapping[str, int]) -> list[int]:
    """Bytes of each record: its inputs, and the files that they name as far as their sizes are known."""
    files = [sum(sizes.get(ref.url.rpartition(":")[2], 0) for ref in refs) for refs in files_of(task)]
    return [size + sum(len(column[at]) for column in task.columns.values()) for at, size in enumerate(files)]
