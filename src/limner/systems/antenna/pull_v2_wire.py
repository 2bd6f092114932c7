"""What existing workers of the older controller send and expect: registration, jobs, tasks and results."""

import base64
import binascii
import hashlib
import time
from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from limner.domain.values import Value


class ClientInfo(Struct, frozen=True, kw_only=True):
    """Who asks, as far as it says."""

    hostname: str = ""
    software: str = ""
    version: str = ""


class RegisterAsk(Struct, frozen=True, kw_only=True):
    """A worker names the pipelines that it serves."""

    processing_service_name: str
    #: As in a service's `/info`; kept as they came, judged when they are used.
    pipelines: list[dict[str, Value]]
    client_info: ClientInfo = field(default_factory=ClientInfo)


class RegisterAnswer(Struct, frozen=True, kw_only=True):
    """What became of a registration."""

    timestamp: str
    success: bool
    error: str | None
    pipelines: list[dict[str, Value]]
    pipelines_created: list[str]
    algorithms_created: list[str]


class JobOut(Struct, frozen=True, kw_only=True):
    """A job that has work for a pipeline."""

    id: int
    pipeline_slug: str


class TasksAsk(Struct, frozen=True, kw_only=True):
    """Asks for pictures of a job."""

    batch_size: int
    client_info: ClientInfo = field(default_factory=ClientInfo)


class PictureOut(Struct, frozen=True, kw_only=True):
    """One picture to look at."""

    id: str
    image_id: str
    image_url: str
    #: Comes back with the result; opaque.
    reply_subject: str


class ResultV2(Struct, frozen=True, kw_only=True):
    """What a worker says of one picture: a service's answer, or ``{"error", "image_id" or null}``."""

    reply_subject: str
    result: dict[str, Value]


class ResultsAsk(Struct, frozen=True, kw_only=True):
    """Results of some pictures."""

    results: list[ResultV2]
    client_info: ClientInfo = field(default_factory=ClientInfo)


class ResultOut(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one result."""

    reply_subject: str
    #: ``queued``, or ``refused``.
    status: str
    task_id: str | None
    #: Why it was refused.
    problem: str = ""


class ResultsAnswer(Struct, frozen=True, kw_only=True):
    """What became of some results, which were stored before this was said."""

    status: str
    job_id: int
    results_queued: int
    tasks: list[ResultOut]


class Lease(Struct, frozen=True, array_like=True):
    """What a reply subject holds: whose picture it is, and by which right."""

    worker: str
    task: int
    key: str
    token: str
    #: What the worker was told to call the picture.
    image: str
    slug: str


def subject_of(lease: Lease) -> str:
    """*lease* as a text that means nothing to whoever carries it."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(lease)).decode().rstrip("=")


def lease_of(subject: str) -> Lease | None:
    """The lease behind a reply subject; None where it is none of ours."""
    try:
        raw = base64.urlsafe_b64decode(subject.encode() + b"=" * (-len(subject) % 4))
        return msgspec.msgpack.decode(raw, type=Lease)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        return None


def number_of(job: str) -> int:
    """The number by which these workers know a job: they expect whole numbers."""
    return int.from_bytes(hashlib.sha256(job.encode()).digest()[:6])


def fingerprint(pipeline: Mapping[str, Value]) -> bytes:
    """A registered pipeline in one form, so that the same is the same and anything else is another version."""
    return msgspec.json.encode(pipeline, order="deterministic")


def timestamp(now: float) -> str:
    """Seconds since the epoch as these workers write times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
