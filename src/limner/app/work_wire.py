"""The open form of tasks and answers: what a consumer in any language is given, and what it says of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, field, structs

from limner.domain.failures import Failure, FailureCode
from limner.domain.outputs import Artifact, Bytes
from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef, LocalFile, Outcome, Runtime, Task, decode_file
from limner.domain.values import Value, decode, plain
from limner.inferrers.inputs import read_digests
from limner.inferrers.made_files import MadeFile
from limner.inferrers.outcomes import Outcomes, failed_outcome

#: How the address of an artifact begins in a task.
ARTIFACT = "artifact:"
_NIL = b"\xc0"


class Named(Struct, frozen=True):
    """One implementation, as a worker names it."""

    stage: str
    implementation: str


class TakeAsk(Struct, frozen=True, kw_only=True):
    """Asks for tasks."""

    worker_id: str
    serves: list[Named]
    max_tasks: int = 1
    max_records: int | None = None
    #: Of the tasks that are handed out, where sizes are known.
    max_bytes: int | None = None
    wait_s: float = 0.0


class LeaseOut(Struct, frozen=True, kw_only=True):
    """What makes a task a worker's, and until when."""

    token: str
    expires_at: float


class ModelOut(Struct, frozen=True, kw_only=True):
    """The model of a task."""

    name: str
    version: int
    #: SHA-256 of its file.
    digest: str
    #: None where the server does not keep it.
    url: str | None
    filename: str
    manifest: Mapping[str, Value]


class RecordOut(Struct, frozen=True, kw_only=True):
    """One record of a task."""

    #: Comes back with its result, as it stands.
    key: str
    #: For logs.
    id: str
    #: By input: the value, or of a file ``{url, sha256, bytes}``.
    reads: dict[str, Value]


class TaskOut(Struct, frozen=True, kw_only=True):
    """A task as it is handed out."""

    task_id: int
    stage: str
    implementation: str
    version: str
    attempt: int
    lease: LeaseOut
    #: Limit on one call of the inferrer.
    time_limit_s: float
    params: Mapping[str, Value]
    model: ModelOut | None
    records: list[RecordOut]


class FailureIn(Struct, frozen=True, kw_only=True):
    """Why a worker has no value."""

    code: str
    message: str = ""
    #: False: asking again is in vain. Otherwise the stage's own policy says.
    retryable: bool | None = None


class ResultIn(Struct, frozen=True, kw_only=True):
    """What a worker says of one record."""

    key: str
    ok: bool
    value: Value = None
    #: By output: the SHA-256 of a file that was uploaded before.
    artifacts: dict[str, str] = field(default_factory=dict)
    #: SHA-256 of the file that was read, or of each by its input's name.
    input_digest: str | dict[str, str] | None = None
    #: Seconds, by ``fetch``, ``inference``, ``total``.
    timing: dict[str, float] = field(default_factory=dict)
    failure: FailureIn | None = None


class AnswerIn(Struct, frozen=True, kw_only=True):
    """What a worker says of one task, or of some of its records."""

    task_id: int
    token: str
    results: list[ResultIn]


class Handed(Struct, kw_only=True):
    """What the desk remembers of a task that it handed out in the open form."""

    runtime: Runtime
    #: By key: the encoded inputs, by name.
    rows: dict[int, dict[str, bytes]]
    #: Keys that no result came for yet.
    left: set[int]
    size: int
    #: The task holds more records than were handed out.
    cut: bool = False


def key_of(key: int, asked: bytes) -> str:
    """A record's key on the wire: it carries the digest asked, which the answer must give back."""
    return f"{key}-{asked.hex()}"


def from_key(text: str) -> tuple[int, bytes]:
    """
    The record's key and the digest asked.

    Raises:
        ValueError: it is no key that was handed out.
    """
    key, _, asked = text.partition("-")
    return int(key), bytes.fromhex(asked)


def task_out(task: Task, *, lease: LeaseOut, base_url: str, sizes: Mapping[str, int]) -> TaskOut:
    """*task* in the open form; the server's own files are below *base_url*, their bytes counted in *sizes*."""
    runtime = task.runtime
    address, _, implementation = runtime.address.partition("/")
    model = None
    if runtime.model is not None:
        kept = runtime.model.filename != ""
        model = ModelOut(
            name=runtime.model.name,
            version=runtime.model.number,
            digest=runtime.model.sha256,
            url=f"{base_url}/api/v1/artifacts/{runtime.model.sha256}" if kept else None,
            filename=runtime.model.filename,
            manifest=runtime.model.manifest,
        )
    return TaskOut(
        task_id=task.id,
        stage=address,
        implementation=implementation,
        version=task.version,
        attempt=task.attempt,
        lease=lease,
        time_limit_s=runtime.timeout.total_seconds(),
        params=runtime.params,
        model=model,
        records=[
            RecordOut(
                key=key_of(task.keys[at], task.asked[at]),
                id=task.records[at],
                reads={
                    name: _read_out(runtime.reads.get(name), column[at], base_url=base_url, sizes=sizes)
                    for name, column in task.columns.items()
                },
            )
            for at in range(len(task.keys))
        ],
    )


def handed(task: Task, *, cut: bool) -> Handed:
    """What is to be remembered of *task* when it was handed out."""
    rows = {key: {name: column[at] for name, column in task.columns.items()} for at, key in enumerate(task.keys)}
    size = sum(len(value) for row in rows.values() for value in row.values())
    return Handed(runtime=task.runtime, rows=rows, left=set(task.keys), size=size, cut=cut)


def cut_to(task: Task, count: int) -> Task:
    """The first *count* records of *task*; the rest is sent again once these are answered."""
    return structs.replace(
        task,
        records=task.records[:count],
        keys=task.keys[:count],
        columns={name: column[:count] for name, column in task.columns.items()},
        prior=task.prior[:count],
        asked=task.asked[:count],
    )


def files_of(task: Task) -> list[list[FileRef]]:
    """The files that each record of *task* reads."""
    names = [name for name, read in task.runtime.reads.items() if read is not None]
    return [
        [decode_file(task.columns[name][at]) for name in names if task.columns[name][at] != _NIL]
        for at in range(len(task.keys))
    ]


class Judge:
    """Turns results of an outside worker into outcomes: checks values, and computes the digests that it left out."""

    def __init__(self, runtime: Runtime, *, max_value_bytes: int, sizes: Mapping[str, int]) -> None:
        """*sizes* are the bytes of the artifacts that this project holds, of those that the results name."""
        self._runtime = runtime
        self._outcomes = Outcomes(runtime, max_value_bytes=max_value_bytes)
        self._sizes = sizes
        self._bytes = [name for name, output in runtime.outputs.items() if isinstance(output, Bytes)]

    def outcome(self, result: ResultIn, *, index: int, row: Mapping[str, bytes] | None) -> Outcome:
        """What *result* says; *row* are the encoded inputs that the record was handed out with, if they are known."""
        read = self._read_digest(result.input_digest, row)
        if not result.ok:
            return failed_outcome(_failure(result.failure), index=index, read_digest=b"")
        problem = self._lacking(result.artifacts)
        if problem is not None:
            failure = Failure(code=FailureCode.OUTPUT_INVALID, message=problem)
            return failed_outcome(failure, index=index, read_digest=read)
        return self._outcomes.done(self._value(result), index=index, read_digest=read, files=[])

    def _value(self, result: ResultIn) -> Value:
        """The value as an inferrer would have answered it."""
        value = result.value
        if self._runtime.kind is StageKind.EXPAND or not (isinstance(value, dict) or result.artifacts):
            return [self._bytes_in(child) for child in value] if isinstance(value, list) else value
        made = self._bytes_in(value) if isinstance(value, dict) else {}
        for name, sha256 in result.artifacts.items():
            output = self._runtime.outputs[name]
            kind = output.kind if isinstance(output, Artifact) else ""
            # Its bytes are kept already, so the path is never looked at.
            made[name] = MadeFile(sha256=sha256, size=self._sizes[sha256], kind=kind, path=Path(sha256))
        return made

    def _bytes_in(self, value: Value) -> Value:
        """JSON has no bytes: where they are declared, they travel as hexadecimal text."""
        if not isinstance(value, dict):
            return value
        found = dict(value)
        for name in self._bytes:
            if isinstance(found.get(name), str):
                try:
                    found[name] = bytes.fromhex(found[name])
                except ValueError:
                    continue
        return found

    def _lacking(self, artifacts: Mapping[str, str]) -> str | None:
        """What is wrong with the artifacts that a result names."""
        for name, sha256 in artifacts.items():
            if not isinstance(self._runtime.outputs.get(name), Artifact):
                return f"The result names the artifact {name}, which the stage does not declare."
            if sha256 not in self._sizes:
                return f"{name} is the artifact {sha256}, which was not uploaded; PUT it before the result."
        return None

    def _read_digest(self, said: str | dict[str, str] | None, row: Mapping[str, bytes] | None) -> bytes:
        """
        The digest of what was read, as a worker of Limner's own would have computed it.

        Empty where it cannot be known: then nothing is ever taken for unchanged by it.
        """
        if row is None:
            return b""
        names = [name for name, read in self._runtime.reads.items() if read is not None]
        by_name = dict.fromkeys(names, said) if isinstance(said, str) and len(names) == 1 else said
        columns: dict[str, list[bytes]] = {}
        for name, value in row.items():
            if name in names and value != _NIL:
                sha256 = by_name.get(name) if isinstance(by_name, dict) else None
                sha256 = sha256 or decode_file(value).checksum
                if not sha256:
                    return b""
                value = msgspec.msgpack.encode(LocalFile(path="", sha256=sha256.lower()))
            columns[name] = [value]
        return read_digests(columns, reads=self._runtime.reads)[0]


def seconds_of(results: Sequence[ResultIn], *, name: str) -> float:
    """Seconds that workers say they spent on something, over several records."""
    return sum(result.timing.get(name, 0.0) for result in results)


def _failure(said: FailureIn | None) -> Failure:
    if said is None:
        return Failure(code=FailureCode.MODEL_ERROR, message="The worker gave no reason.")
    known = said.code in FailureCode.__members__
    return Failure(
        code=FailureCode(said.code) if known else FailureCode.MODEL_ERROR,
        message=said.message or said.code,
        reason=None if known else said.code,
        final=said.retryable is False,
    )


def _read_out(read: FileRead | None, value: bytes, *, base_url: str, sizes: Mapping[str, int]) -> Value:
    """One input of one record in the open form."""
    if value == _NIL:
        return None
    if read is None:
        return plain(decode(value))
    ref = decode_file(value)
    if not ref.url.startswith(ARTIFACT):
        return {"url": ref.url, "sha256": ref.checksum, "bytes": None}
    sha256 = ref.url.removeprefix(ARTIFACT)
    return {"url": f"{base_url}/api/v1/artifacts/{sha256}", "sha256": sha256, "bytes": sizes.get(sha256)}
