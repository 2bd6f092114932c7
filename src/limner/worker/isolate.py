"""Halving: from a call that went wrong as a whole to the one record that is to blame."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias

from msgspec import Struct, structs

from limner.domain.failures import Failure, FailureCode
from limner.domain.tasks import Outcome, Status
from limner.errors import LimnerError
from limner.worker.calls import Done, Reply, Trouble, Unusable, Written

#: Calls the inferrer with the records at these positions.
Run: TypeAlias = Callable[[Sequence[int]], Reply]


class InferrerUnusable(LimnerError):
    """The inferrer cannot be used now; the records that have no outcome yet are unharmed."""


class Part(Struct, frozen=True, kw_only=True):
    """Some outcomes of a batch, with the files that they name."""

    outcomes: list[Outcome]
    files: list[Written]


def isolate(run: Run, positions: Sequence[int]) -> Generator[Part]:
    """
    The outcomes of the records at *positions*, as they come.

    A call that died, overran, raised for all, found no memory or miscounted is split in two, and so on, until the
    record that is to blame is alone; it fails with what the call died of, once. Each of its neighbours is in one call
    that goes well.

    Raises:
        InferrerUnusable: the inferrer cannot be used, whatever the records; what was yielded stands.
    """
    yield from _whole(run, positions)


def _whole(run: Run, positions: Sequence[int]) -> Generator[Part, None, bool]:
    """Call with all *positions*, and halve if that goes wrong; whether it went well."""
    reply = run(positions)
    if isinstance(reply, Unusable):
        raise InferrerUnusable(reply.reason)
    if isinstance(reply, Done) and len(reply.outcomes) != len(positions):
        told = f"The inferrer's host answered {len(positions)} records with {len(reply.outcomes)} outcomes."
        reply = Trouble(code=FailureCode.OUTPUT_INVALID, message=told)
    if isinstance(reply, Done):
        placed = [structs.replace(outcome, index=positions[outcome.index]) for outcome in reply.outcomes]
        yield Part(outcomes=placed, files=reply.files)
        return True
    if len(positions) == 1:
        yield Part(outcomes=[_blamed(positions[0], reply)], files=[])
    else:
        yield from _halves(run, positions)
    return False


def _halves(run: Run, positions: Sequence[int]) -> Generator[Part]:
    """Call with each half of *positions*, which went wrong together."""
    middle = len(positions) // 2
    first, second = positions[:middle], positions[middle:]
    went_well = yield from _whole(run, first)
    if went_well and len(second) > 1:
        # The guilty one must be in here: another call with all of them would cost a deadline, or a process, in vain.
        yield from _halves(run, second)
    else:
        yield from _whole(run, second)


def _blamed(position: int, trouble: Trouble) -> Outcome:
    failure = Failure(code=trouble.code, message=trouble.message)
    return Outcome(index=position, status=Status.FAILED, failure=failure, alone=True)
