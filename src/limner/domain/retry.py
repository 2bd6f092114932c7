"""Retry policy: which failures are tried again, how often, and how long between."""

from datetime import timedelta

from msgspec import Struct, field

from limner.domain.failures import LOCAL_FILE, Failure, FailureCode

_PASSING = (
    FailureCode.SOURCE_TIMEOUT,
    FailureCode.SOURCE_UNAVAILABLE,
    FailureCode.SOURCE_TRUNCATED,
    FailureCode.SOURCE_WRONG_TYPE,
)
#: An inferrer that is not there may come back: behind HTTP, or while its model is fetched.
_ABSENT = (FailureCode.MODEL_UNAVAILABLE,)
_DEADLY = (FailureCode.WORKER_LOST, FailureCode.STAGE_TIMEOUT, FailureCode.OUT_OF_MEMORY)


def default_attempts() -> dict[FailureCode, int]:
    """The default table: what may mend by itself is tried several times, what killed an attempt twice."""
    return dict.fromkeys(_PASSING, 4) | dict.fromkeys(_ABSENT, 3) | dict.fromkeys(_DEADLY, 2)


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How often a failure of one record is tried again; codes that are not named are final at once."""

    #: Attempts in all, the first included, by failure code.
    attempts: dict[FailureCode, int] = field(default_factory=default_attempts)
    #: Wait before the second attempt; doubled for each one after it.
    delay: timedelta = timedelta(seconds=0.5)
    #: No wait is longer, a server's Retry-After included.
    longest: timedelta = timedelta(seconds=120)

    def allows(self, failure: Failure, *, tried: int) -> bool:
        """
        Whether a record that was tried *tried* times, the failed attempt included, may be tried again.

        A file on this machine that cannot be read is not read again; its source would have to be mended first. Nor is
        anything tried again that its worker calls final.
        """
        if failure.final or failure.reason == LOCAL_FILE:
            return False
        return tried < self.attempts.get(failure.code, 1)

    def wait(self, failure: Failure, *, tried: int) -> float:
        """Seconds to wait after attempt *tried* failed: what the server asked for, else exponential."""
        asked = failure.retry_after or 0.0
        backoff = self.delay.total_seconds() * 2.0 ** max(0, tried - 1)
        return min(max(asked, backoff), self.longest.total_seconds())


def final(failure: Failure, *, tried: int) -> Failure:
    """The failure that a record ends with: a worker lost as often as allowed is ATTEMPTS_EXHAUSTED."""
    if failure.code is not FailureCode.WORKER_LOST:
        return failure
    return Failure(
        code=FailureCode.ATTEMPTS_EXHAUSTED,
        message=f"The inferrer's process ended without an answer in each of {tried} attempts: {failure.message}",
        reason="worker lost",
    )
