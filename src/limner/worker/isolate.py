"""Halving: from a call that went wrong as a whole to the one record that is to blame."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias

from msgspec import Struct, structs

from limner.domain.failures import Failure, FailureCode
from limner.domain.tasks import Outcome, Status
from limner.errors import LimnerError
from limner.worker.batch_size import BatchSize
from limner.worker.calls import Done, Reply, Trouble, Unusable, Written

#: Calls the inferrer with the records at these positions.
Run: TypeAlias = Callable[[Sequence[int]], Reply]


class InferrerUnusable(LimnerError):
    """The inferrer cannot be used now; the records that have no outcome yet are unharmed."""


class Part(Struct, frozen=True, kw_only=True):
    """Some outcomes of a batch, with the files that they name."""

    outcomes: list[Outcome]
    files: list[Written]


def isolate(run: Run, positions: Sequence[int], *, size: BatchSize | None = None) -> Generator[Part]:
    """
    The outcomes of the records at *positions*, as they come.

    A call that died, overran, raised for all, found no memory or miscounted is split in two, and so on, until the
    record that is to blame is alone; it fails with what the call died of, once. Each of its neighbours is in one call
    that goes well. After a call that found no memory, *size* keeps the ones that follow smaller.

    Raises:
        InferrerUnusable: the inferrer cannot be used, whatever the records; what was yielded stands.
    """
    yield from _Isolation(run, size=size or BatchSize()).whole(positions)


class _Isolation:
    """One batch on its way to outcomes."""

    def __init__(self, run: Run, *, size: BatchSize) -> None:
        self._run = run
        self._size = size
        self._size_before = size.most()

    def whole(self, positions: Sequence[int]) -> Generator[Part, None, bool]:
        """Call with all *positions*, and halve if that goes wrong; whether it went well."""
        most = self._size.most()
        if most is not None and len(positions) > most:
            yield from self._each_half(positions)
            return False
        reply = _counted(self._run(positions), positions)
        if isinstance(reply, Done):
            placed = [structs.replace(outcome, index=positions[outcome.index]) for outcome in reply.outcomes]
            files = [structs.replace(file, index=positions[file.index]) for file in reply.files]
            yield Part(outcomes=placed, files=files)
            return True
        alone, no_memory = len(positions) == 1, reply.code is FailureCode.OUT_OF_MEMORY
        if alone:
            if no_memory:
                self._size.restore(self._size_before)
            yield Part(outcomes=[_blamed(positions[0], reply)], files=[])
        elif no_memory:
            # Nobody needs to be guilty: they may only be too many.
            self._size.too_many(len(positions))
            yield from self._each_half(positions)
        else:
            yield from self._halves(positions)
        return False

    def _each_half(self, positions: Sequence[int]) -> Generator[Part]:
        middle = len(positions) // 2
        yield from self.whole(positions[:middle])
        yield from self.whole(positions[middle:])

    def _halves(self, positions: Sequence[int]) -> Generator[Part]:
        """Call with each half of *positions*, which went wrong together."""
        middle = len(positions) // 2
        first, second = positions[:middle], positions[middle:]
        went_well = yield from self.whole(first)
        if went_well and len(second) > 1:
            # The guilty one must be in here: a call with all of them would cost a deadline, or a process, in vain.
            yield from self._halves(second)
        else:
            yield from self.whole(second)


def _counted(reply: Reply, positions: Sequence[int]) -> Done | Trouble:
    """*reply*, as trouble where its outcomes cannot be told apart."""
    if isinstance(reply, Unusable):
        raise InferrerUnusable(reply.reason)
    if isinstance(reply, Done) and len(reply.outcomes) != len(positions):
        told = f"The inferrer's host answered {len(positions)} records with {len(reply.outcomes)} outcomes."
        return Trouble(code=FailureCode.OUTPUT_INVALID, message=told)
    return reply


def _blamed(position: int, trouble: Trouble) -> Outcome:
    failure = Failure(code=trouble.code, message=trouble.message)
    return Outcome(index=position, status=Status.FAILED, failure=failure, alone=True)
