"""Far workers: how they introduce themselves, what they say of themselves, and how they are seen."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from msgspec import Struct, field

from limner.domain.digests import digest
from limner.domain.values import Value, encode
from limner.domain.versions import Version

#: A worker is heard from so often.
HEARTBEAT = timedelta(seconds=15)
#: Seen within two heartbeats it is live, and after so long it is gone.
LIVE_FOR = 2 * HEARTBEAT
GONE_AFTER = timedelta(minutes=10)

#: The client of a worker that came by letters: what it may take, the broker knows and the server does not.
BY_BROKER = "by the broker"

#: Why a task without an active version is given to nobody.
NOT_SERVED = "no version of it is active on the server"


class Liveness(StrEnum):
    """How long ago a worker was heard from."""

    LIVE = "live"
    STALE = "stale"
    GONE = "gone"


class ServedVersion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker says of the version that it serves: the whole version's digest, or its parts as far as known."""

    code: str | None = None
    #: SHA-256 of the model's file.
    model_digest: str | None = None
    #: :func:`digest_of` the parameters, and of the environment.
    params_digest: str | None = None
    environment_digest: str | None = None
    #: Digest of the whole version, as the server told it.
    digest: str | None = None
    #: Installed versions of the packages that the inferrer declares to matter; lets the server name a new version.
    environment: dict[str, str] | None = None


class Served(Struct, frozen=True, kw_only=True):
    """One implementation that a worker serves."""

    #: ``stage``, ``pipeline.stage``, or a name that another API gives to a stage.
    stage: str
    implementation: str
    version: ServedVersion = field(default_factory=ServedVersion)


class Hello(Struct, frozen=True, kw_only=True):
    """A worker introduces itself."""

    worker_id: str
    hostname: str = ""
    software: str = ""
    version: str = ""
    platform: str = ""
    gpu: str | None = None
    slurm_job_id: str | None = None
    serves: list[Served] = field(default_factory=list)
    #: What the server saw of it: address, and how its client names itself.
    ip: str = ""
    client: str = ""


class Beat(Struct, frozen=True, kw_only=True):
    """A worker lives; it speaks for itself alone."""

    worker_id: str
    #: By ``stage/implementation``: whether its inferrer can be called now.
    ready: dict[str, bool] = field(default_factory=dict)
    #: Tasks that it holds.
    busy: list[int] = field(default_factory=list)
    done_records: int = 0
    rss_bytes: int | None = None
    gpu_bytes: int | None = None


class Told(Struct, frozen=True):
    """Why a worker is given no task of an implementation."""

    stage: str
    implementation: str
    why: str


def liveness(silent_for: timedelta) -> Liveness:
    """How a worker is seen that was not heard from for so long."""
    if silent_for <= LIVE_FOR:
        return Liveness.LIVE
    return Liveness.STALE if silent_for <= GONE_AFTER else Liveness.GONE


def digest_of(part: Mapping[str, Value]) -> str:
    """The digest by which a worker names parameters or an environment."""
    return digest(encode(dict(part))).hex()


def mismatch(version: Version, said: ServedVersion) -> str | None:
    """How what a worker says of its version differs from *version*, as a sentence's end; None where it does not."""
    if said.digest is not None:
        return None if said.digest == version.digest else f"its version is {said.digest} and not {version.digest}"
    environment = said.environment_digest
    if environment is None and said.environment is not None:
        environment = digest_of(said.environment)
    pairs = {
        "code version": (said.code, version.code),
        "model": (said.model_digest, version.model.sha256 if version.model else None),
        "parameters": (said.params_digest, digest_of(version.params)),
        "environment": (environment, digest_of(version.environment)),
    }
    if said.code is None:
        return "it says no code version"
    for name, (mine, wanted) in pairs.items():
        if mine is not None and mine != wanted:
            return f"its {name} is {mine or 'none'} and not {wanted or 'none'}"
    return None
