"""What goes wrong with an object store, in the errors of Limner: who can do what about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import parsedate_to_datetime

from aiohttp import ClientError as ConnectionBroke
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from limner.artifacts.s3_place import Place
from limner.clock import SystemClock
from limner.errors import ArtifactMissing, ArtifactsUnavailable, ConfigurationError, LimnerError

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
#: S3 refuses what was signed by a clock that is further off.
_SKEW = timedelta(minutes=15)
#: Refusals that another try need not meet, whatever their status: the body was cut, or a restarted server forgot parts.
_PASSING = frozenset(
    {
        "BadDigest",
        "IncompleteBody",
        "InvalidPart",
        "NoSuchUpload",
        "OperationAborted",
        "RequestTimeout",
        "SlowDown",
        "XAmzContentSHA256Mismatch",
    }
)


@contextmanager
def translated(place: Place, *, sha256: str = "") -> Iterator[None]:
    """
    Turn what s3fs raises in the block into errors of Limner; a file of this machine that fails stays an OSError.

    Raises:
        ArtifactMissing: there is no object of *sha256*.
        ArtifactsUnavailable: the server cannot be reached or is not well; asking again is safe.
        ConfigurationError: it refuses the keys, or has no such bucket.
    """
    try:
        yield
    except (OSError, BotoCoreError, ConnectionBroke, ClientError) as error:
        found = _of_ours(error, place=place, sha256=sha256)
        if found is None:
            raise
        raise found from error


def _of_ours(error: Exception, *, place: Place, sha256: str) -> LimnerError | None:
    """The error of ours for one of theirs; None where it is this machine's."""
    told = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(told, ClientError):
        return _answered(told, place=place, sha256=sha256)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return ConfigurationError(f"No keys are known for {place.shown}; set {_KEYS}.")
    if isinstance(error, BotoCoreError | ConnectionBroke | TimeoutError | ConnectionError):
        reason = str(error).strip() or type(error).__name__
        return ArtifactsUnavailable(
            f"The artifacts at {place.shown} cannot be reached: {reason} Start the server, or correct the setting "
            "`artifacts` or AWS_ENDPOINT_URL."
        )
    return None


def _answered(error: ClientError, *, place: Place, sha256: str) -> LimnerError:
    """What the server's refusal means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = str(error.response.get("Error", {}).get("Message", "")) or code
    if code in _PASSING or status in (0, 408, 429) or status >= 500:
        return ArtifactsUnavailable(f"The artifacts at {place.shown} are not well: {message} ({code or status}).")
    if code == "NoSuchBucket":
        return ConfigurationError(
            f"There is no bucket {place.bucket} at {place.endpoint or 'Amazon S3'}; make it, or correct the setting "
            "`artifacts`."
        )
    if status == 404 and sha256:
        return ArtifactMissing(sha256)
    if status in (400, 403) and abs(off := _clock_is_off(error)) > _SKEW:
        how_far = f"{abs(off) // timedelta(minutes=1)} minutes {'ahead of' if off > timedelta() else 'behind'}"
        return ArtifactsUnavailable(
            f"{place.shown} refuses what this machine's clock signs, which is {how_far} its own; set the clock."
        )
    if status in (401, 403):
        return ConfigurationError(
            f"{place.shown} refuses: {message} Set {_KEYS} to keys that may list the bucket and read, write and delete "
            "below the prefix."
        )
    return ConfigurationError(f"{place.shown} does not accept what was asked: {message} ({code or status}).")


def _clock_is_off(error: ClientError) -> timedelta:
    """By how much this machine's clock is ahead of the server's; nothing where the answer does not tell the time."""
    told = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return timedelta(seconds=SystemClock().now() - parsedate_to_datetime(told).timestamp())
    except (TypeError, ValueError):
        return timedelta()
