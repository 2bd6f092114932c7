"""Processes that publish batches beside each other; one that is killed is replaced, and its batch done again."""

import multiprocessing
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from limner.errors import LimnerError, StoreUnavailable
from limner.systems.ersilia.predictions.connect import is_far
from limner.systems.ersilia.predictions.publication import Publication, Publishing

#: Times that a batch is begun, where the process that has it dies.
_TRIES = 3
#: Processes that publish at most.
_MOST = 8
#: Rows for which one more is worth the second that its start costs: where it waits for a network, and where not.
_FAR, _NEAR = 1_000, 50_000
#: A row costs as much again for every so many columns.
_COLUMNS = 20


def writers_for(publication: Publication, *, workers: int) -> int:
    """How many of *workers* processes it pays to publish with; at least one."""
    facts = publication.facts
    work = facts.counts.rows * (1 + len(facts.release.columns) // _COLUMNS)
    rows = _FAR if any(map(is_far, publication.places)) else _NEAR
    return max(1, min(workers, _MOST, ceil(work / rows)))


def publish_beside(publication: Publication, numbers: list[int], *, workers: int, done: Callable[[], None]) -> None:
    """
    Publish the batches with *numbers* in so many processes; *done* is called after each.

    Raises:
        LimnerError: what went wrong in a process; batches that were done stay done.
        StoreUnavailable: the processes die, whatever is tried.
    """
    waiting = deque(numbers)
    tries = dict.fromkeys(numbers, 0)
    crew: dict[Connection, _Member] = {}
    try:
        while waiting or crew:
            while waiting and len(crew) < workers:
                member = _Member(publication)
                crew[member.line] = member
                member.give(waiting.popleft())
            for line in wait(list(crew)):
                member = crew[line]  # type: ignore[index]  # wait hands back what it was given
                if not member.answered():
                    del crew[member.line]
                    member.close()
                    tries[member.batch] += 1
                    if tries[member.batch] == _TRIES:
                        raise StoreUnavailable(
                            f"Batch {member.batch + 1} ended the process that published it {_TRIES} times; "
                            "see whether there is enough memory, then run it again: it goes on where it was."
                        )
                    waiting.appendleft(member.batch)
                    continue
                done()
                if waiting:
                    member.give(waiting.popleft())
                else:
                    del crew[member.line]
                    member.close()
    finally:
        for member in crew.values():
            member.close()


class _Member:
    """One process, and which batch it has."""

    def __init__(self, publication: Publication) -> None:
        # Nothing is inherited but its line, so that it notices when this process is gone.
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, publication), daemon=True)
        self._process.start()
        theirs.close()
        self.batch = -1

    def give(self, number: int) -> None:
        """Have it publish a batch."""
        self.batch = number
        # Where it is gone already, its line says so when it is asked for the answer.
        with suppress(BrokenPipeError):
            self.line.send(number)

    def answered(self) -> bool:
        """
        Whether it is done with its batch; False where it died.

        Raises:
            LimnerError: what went wrong.
        """
        try:
            error: LimnerError | None = self.line.recv()
        except (EOFError, ConnectionResetError):
            return False
        if error is not None:
            raise error
        return True

    def close(self) -> None:
        """Hang up and wait for it to go."""
        self.line.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(line: Connection, publication: Publication) -> None:
    """Publish the batches that come along the line, until it is hung up."""
    publishing: Publishing | None = None
    with suppress(EOFError, ConnectionResetError, BrokenPipeError, KeyboardInterrupt):
        while True:
            number: int = line.recv()
            try:
                publishing = publishing or Publishing(publication)
                publishing.publish(number)
                line.send(None)
            except LimnerError as error:
                # Not every error can be pickled; its sentence can.
                kind = type(error) if type(error).__init__ is Exception.__init__ else LimnerError
                line.send(kind(str(error)))
    if publishing is not None:
        publishing.close()
