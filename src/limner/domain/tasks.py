"""What travels between the engine and its workers: tasks there, answers and heartbeats back."""

from collections.abc import Mapping
from datetime import timedelta
from enum import IntEnum
from typing import TypeAlias

import msgspec
from msgspec import Struct, field

from limner.domain.failures import Failure
from limner.domain.outputs import AnyOutput
from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.domain.values import Value

#: Topic that every worker answers on.
ANSWERS = "answers"
#: Reason of a worker that gives a task back because it stops; any other says that it cannot run the task at all.
STOPPING = "The worker is stopping."


class Status(IntEnum):
    """What became of one record in one stage."""

    DONE = 1
    FAILED = 2
    SKIPPED = 3
    #: The bytes read have the digest that the stored result was made from: it stays, nothing was inferred.
    UNCHANGED = 4


class ModelRef(Struct, frozen=True, kw_only=True):
    """A version of a model: enough to fetch it by digest."""

    name: str
    number: int
    sha256: str
    #: Name the file had, its ending included.
    filename: str
    #: Thresholds, preprocessing, licence: handed to the inferrer, part of the digest.
    manifest: Mapping[str, Value] = field(default_factory=dict)


class Runtime(Struct, frozen=True, kw_only=True):
    """All that a worker needs in order to run one version of one implementation."""

    #: ``pipeline.stage/implementation``: the topic that its tasks travel on, and its name in logs.
    address: str
    #: ``package.module:Name``, or a built-in: ``onnx``, ``http``, ``given``.
    infer: str
    kind: StageKind
    params: Mapping[str, Value]
    model: ModelRef | None
    #: By the name of the input: how its file is read, or None for a value.
    reads: Mapping[str, FileRead | None]
    outputs: Mapping[str, AnyOutput]
    batch: int
    timeout: timedelta
    isolation: str = "process"
    memory_mb: int | None = None
    #: Expand: the fields of a child that identify it.
    identity: tuple[str, ...] = ()


class FileRef(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file to fetch: its address and what is known about its bytes."""

    url: str
    #: SHA-256 in hexadecimal, if the source declares it.
    checksum: str | None = None
    #: Whatever else says that the bytes at the address changed: a source's version, a size and time.
    revision: str | None = None
    #: Ask the source again although a copy is at hand: the copy could not be used.
    fresh: bool = False


class LocalFile(Struct, frozen=True, kw_only=True):
    """A file at hand: what a worker's fetch made of a :class:`FileRef`."""

    path: str
    #: SHA-256 of the bytes, in hexadecimal: what the read digest counts.
    sha256: str


class Task(Struct, frozen=True, kw_only=True):
    """Up to N records for one stage and one version: what travels, is leased and is retried."""

    id: int
    #: Times that it was handed out, this time included.
    attempt: int
    runtime: Runtime
    #: Digest of the version, in hexadecimal.
    version: str
    #: Ids of the records, for logs; outcomes name positions in this list.
    records: list[str]
    #: The engine's keys of the records, in the same order; an answer gives back those of its outcomes.
    keys: list[int]
    #: By the name of the input: one encoded value a record (:func:`limner.domain.values.encode`), or one
    #: encoded :class:`FileRef`. ``b"\\xc0"`` (MessagePack's nil) is None.
    columns: dict[str, list[bytes]]
    #: By record: the read digest of the stored result of the same version, empty where there is none.
    prior: list[bytes]
    #: Digest asked, by record; comes back with the outcome.
    asked: list[bytes]
    #: Seconds until the engine takes a silent worker for lost.
    lease: float = 60.0


class Outcome(Struct, frozen=True, array_like=True):
    """What became of one record of a task."""

    #: Position in the task's records.
    index: int
    status: Status
    #: Encoded value; for an expand the encoded list of its children's fields; empty unless done.
    value: bytes = b""
    value_digest: bytes = b""
    #: Digest of the values and file bytes that were read; empty where reading failed.
    read_digest: bytes = b""
    failure: Failure | None = None
    #: Whether the record was alone in its last try: only then is it charged with an attempt for a lost process.
    alone: bool = False


class Answer(Struct, frozen=True, kw_only=True, tag="answer"):
    """Outcomes of some or all records of a task."""

    task: int
    attempt: int
    worker: str
    outcomes: list[Outcome]
    #: The task's keys of the records that the outcomes are about, in the order of the outcomes.
    keys: list[int]
    #: The digests asked of the same records, as the task carried them.
    asked: list[bytes]
    #: When the worker began with these records, seconds since the epoch.
    started: float
    #: Seconds spent inferring, without fetching and waiting.
    seconds: float
    #: Nothing more comes for this task.
    last: bool = True
    #: Files that were fetched over the network for these records.
    downloads: int = 0


class Heartbeat(Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """A worker lives and holds these tasks: their leases move."""

    worker: str
    tasks: list[int]


class Released(Struct, frozen=True, kw_only=True, tag="released"):
    """A worker gives a task back unharmed (it is stopping, or cannot load what the task needs)."""

    worker: str
    task: int
    attempt: int
    reason: str


FromWorker: TypeAlias = Answer | Heartbeat | Released

_encoder = msgspec.msgpack.Encoder()
_task_decoder = msgspec.msgpack.Decoder(Task)
_answer_decoder = msgspec.msgpack.Decoder(FromWorker)
_file_decoder = msgspec.msgpack.Decoder(FileRef)


def encode_message(message: Task | FromWorker | FileRef) -> bytes:
    """*message* as the bytes that travel."""
    return _encoder.encode(message)


def decode_task(body: bytes) -> Task:
    """The task in *body*."""
    return _task_decoder.decode(body)


def decode_from_worker(body: bytes) -> FromWorker:
    """The answer, heartbeat or release in *body*."""
    message: FromWorker = _answer_decoder.decode(body)
    return message


def decode_file(body: bytes) -> FileRef:
    """The file reference in *body*."""
    return _file_decoder.decode(body)
