"""Jobs: their states and the moves between them, and what became of each of their records."""

from collections.abc import Mapping
from enum import IntEnum, StrEnum

from msgspec import Struct, field

from limner.domain.values import Value
from limner.errors import IllegalMove


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    DONE_WITH_FAILURES = "done_with_failures"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to the job, unless it is retried."""
        return self not in (JobState.WAITING, JobState.RUNNING, JobState.CANCELLING)


_ENDS = {JobState.DONE, JobState.DONE_WITH_FAILURES, JobState.FAILED, JobState.EXPIRED}
_MOVES: Mapping[JobState, set[JobState]] = {
    JobState.WAITING: {JobState.RUNNING, JobState.CANCELLING, JobState.CANCELLED, JobState.FAILED, JobState.EXPIRED},
    JobState.RUNNING: {JobState.CANCELLING, *_ENDS},
    JobState.CANCELLING: {JobState.CANCELLED},
    JobState.DONE: {JobState.RUNNING},
    JobState.DONE_WITH_FAILURES: {JobState.RUNNING},
    JobState.FAILED: {JobState.RUNNING},
    JobState.CANCELLED: {JobState.RUNNING},
    JobState.EXPIRED: {JobState.RUNNING},
}


def move(old: JobState, new: JobState) -> JobState:
    """
    *new*, if a job may move there from *old*; an ended job moves only to ``running``, by a retry.

    Raises:
        IllegalMove: the move is not allowed.
    """
    if new not in _MOVES[old]:
        raise IllegalMove(f"A job that is {old} cannot become {new}.")
    return new


class Fate(IntEnum):
    """What became of one record of a job; one byte each in the ledger."""

    OPEN = 0
    DONE = 1
    FAILED = 2
    SKIPPED = 3
    CANCELLED = 4


class Counts(Struct, frozen=True, kw_only=True):
    """How many records of a job have which fate; they add up to its records in every read."""

    records: int = 0
    open: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0


class Job(Struct, frozen=True, kw_only=True):
    """A request: these records, this pipeline, these implementations."""

    id: str
    pipeline: str
    state: JobState
    #: By stage: the implementations chosen; the defaults for stages that are not named.
    choices: Mapping[str, list[str]] = field(default_factory=dict)
    #: Grows with each retry.
    round: int = 1
    #: All its records are known; until then it cannot end.
    sealed: bool = False
    #: Rows of its source that were taken in: where a server goes on that was stopped meanwhile.
    taken: int = 0
    #: Source rows that could not become records.
    set_aside: int = 0
    #: Outputs computed for it, and results that were found current.
    inferred: int = 0
    reused: int = 0
    #: Files fetched over the network for it.
    downloads: int = 0
    #: Dispatched before jobs of a lower number.
    priority: int = 0
    created: float = 0.0
    ended: float | None = None
    #: When it is stopped if it has not ended by then.
    expires: float | None = None
    #: It is stopped as failed once more than this share of its records failed.
    fail_threshold: float | None = None
    detail: Mapping[str, Value] = field(default_factory=dict)
