"""Failures: the one list of codes, and what a failure says."""

from enum import StrEnum

from msgspec import Struct

from limner.errors import LimnerError


class FailureCode(StrEnum):
    """Why a record has no value; the only list of codes anywhere, explained in docs/failures.md."""

    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_FORBIDDEN = "SOURCE_FORBIDDEN"
    SOURCE_REFUSED = "SOURCE_REFUSED"
    SOURCE_TIMEOUT = "SOURCE_TIMEOUT"
    SOURCE_UNAVAILABLE = "SOURCE_UNAVAILABLE"
    SOURCE_TRUNCATED = "SOURCE_TRUNCATED"
    SOURCE_WRONG_TYPE = "SOURCE_WRONG_TYPE"
    SOURCE_TOO_LARGE = "SOURCE_TOO_LARGE"
    DECODE_FAILED = "DECODE_FAILED"
    INPUT_INVALID = "INPUT_INVALID"
    MODEL_ERROR = "MODEL_ERROR"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    STAGE_TIMEOUT = "STAGE_TIMEOUT"
    WORKER_LOST = "WORKER_LOST"
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    OUTPUT_INVALID = "OUTPUT_INVALID"
    OUTPUT_TOO_LARGE = "OUTPUT_TOO_LARGE"
    UPSTREAM_FAILED = "UPSTREAM_FAILED"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    CALLBACK_UNDELIVERED = "CALLBACK_UNDELIVERED"


#: Reason of a failure to read a file of this machine: what lies on a disk does not mend by itself.
LOCAL_FILE = "local file"


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why one record has no value of one stage."""

    code: FailureCode
    #: One sentence for a person.
    message: str
    #: Machine-readable, defined by a system or by the platform, for example ``worker lost``.
    reason: str | None = None
    #: Seconds that a server asked us to wait before the next try (``Retry-After``).
    retry_after: float | None = None
    #: Asking again is in vain, whatever the stage's policy allows: the worker says so.
    final: bool = False


class FailedRecord(LimnerError):
    """Raised on a worker's side where one record cannot be inferred; becomes its failure."""

    def __init__(
        self, code: FailureCode, message: str, *, reason: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.failure = Failure(code=code, message=message, reason=reason, retry_after=retry_after)
