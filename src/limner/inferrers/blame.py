"""From whatever went wrong with one record to its failure."""

from collections.abc import Iterable
from pathlib import Path

from limner.domain.failures import FailedRecord, Failure, FailureCode
from limner.domain.reads import FileRead

_LONGEST = 1000
#: What an inferrer may say of a record by the attribute ``code``; all else is the platform's to say.
_SAYABLE = frozenset(
    code
    for code in FailureCode
    if code.startswith(("SOURCE_", "OUTPUT_")) or code in ("DECODE_FAILED", "INPUT_INVALID")
) | {FailureCode.MODEL_ERROR, FailureCode.MODEL_UNAVAILABLE}


def failure_of(error: BaseException, *, files: Iterable[tuple[Path, FileRead]] = ()) -> Failure:
    """
    The failure that *error* makes of its record.

    A FailedRecord keeps its own; an error with an attribute ``code`` that is a failure code says it, with ``reason``
    and ``retry_after`` (seconds that a service asked us to wait); what Pillow raises for one of *files*, which the
    inferrer opened itself, is told by that file's bytes; anything else is MODEL_ERROR with the error's type and words.
    """
    if isinstance(error, FailedRecord):
        return error.failure
    said = _said_by(error)
    if said:
        return said
    for path, read in files:
        found = _blamed_on(error, path=path, read=read)
        if found:
            return found
    return Failure(code=FailureCode.MODEL_ERROR, message=f"{type(error).__name__}: {error}"[:_LONGEST])


def reading_failed(failure: Failure) -> bool:
    """Whether the inputs themselves could not be read, so that nothing was inferred from them."""
    return failure.code.startswith("SOURCE_") or failure.code is FailureCode.DECODE_FAILED


def _said_by(error: BaseException) -> Failure | None:
    code, reason = getattr(error, "code", None), getattr(error, "reason", None)
    if not isinstance(code, str) or code not in _SAYABLE:
        return None
    message = str(error)[:_LONGEST] or type(error).__name__
    after = getattr(error, "retry_after", None)
    return Failure(
        code=FailureCode(code),
        message=message,
        reason=reason if isinstance(reason, str) else None,
        retry_after=float(after) if isinstance(after, int | float) else None,
    )


def _blamed_on(error: BaseException, *, path: Path, read: FileRead) -> Failure | None:
    try:
        # An inferrer that raises Pillow's errors brought Pillow along; others go without.
        from limner.inferrers.pictures import blamed_on_picture
    except ImportError:
        return None
    return blamed_on_picture(error, path=path, read=read)
