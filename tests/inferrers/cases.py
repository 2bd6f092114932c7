"""What the tests of inferrers share: a runtime, encoded files, and small user modules."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import msgspec

from limner.domain.outputs import AnyOutput
from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.domain.tasks import LocalFile, ModelRef, Outcome, Runtime
from limner.domain.values import Value, decode, encode
from limner.inferrers.host import Host

NO_VALUE = b"\xc0"


def runtime(
    infer: str,
    *,
    reads: Mapping[str, FileRead | None] | None = None,
    params: Mapping[str, Value] | None = None,
    outputs: Mapping[str, AnyOutput] | None = None,
    kind: StageKind = StageKind.MAP,
    model: ModelRef | None = None,
    batch: int = 16,
    identity: tuple[str, ...] = (),
) -> Runtime:
    """A runtime that reads one value ``x`` unless told otherwise."""
    return Runtime(
        address="pipeline.stage/default",
        infer=infer,
        kind=kind,
        params=params or {},
        model=model,
        reads={"x": None} if reads is None else reads,
        outputs=outputs or {},
        batch=batch,
        timeout=timedelta(seconds=5),
        identity=identity,
    )


def model_ref(**manifest: Value) -> ModelRef:
    """A model's reference; its file stands elsewhere."""
    return ModelRef(name="scale", number=1, sha256="0" * 64, filename="scale.txt", manifest=manifest)


def file_cell(path: Path) -> bytes:
    """The file at *path* as a task's column holds it once it was fetched."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return msgspec.msgpack.encode(LocalFile(path=str(path), sha256=sha256))


def run_values(host: Host, *values: Value, name: str = "x") -> list[Outcome]:
    """Run *values* of one input through *host*, without earlier results."""
    return host.run({name: [encode(value) for value in values]}, prior=[b""] * len(values)).outcomes


def run_files(host: Host, *paths: Path, name: str = "image") -> list[Outcome]:
    """Run the files of one input through *host*, without earlier results."""
    return host.run({name: [file_cell(path) for path in paths]}, prior=[b""] * len(paths)).outcomes


def values_of(outcomes: list[Outcome]) -> list[Value]:
    """What the outcomes hold; None for those that are not done."""
    return [decode(outcome.value) if outcome.value else None for outcome in outcomes]


def codes_of(outcomes: list[Outcome]) -> list[str | None]:
    """The failure code of each outcome, None where there is none."""
    return [outcome.failure.code.value if outcome.failure else None for outcome in outcomes]
