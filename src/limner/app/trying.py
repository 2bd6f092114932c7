"""Tries one inferrer on a few files: in a child process, without a store."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.domain.tasks import LocalFile, ModelRef, Outcome, Runtime
from limner.domain.values import Value, decode, encode
from limner.errors import InferrerBroken, UsageError
from limner.worker.calls import Done, Load, Trouble
from limner.worker.child import ChildRunner

#: Inferrers that are part of the platform, and take whatever they are handed.
BUILT_IN = ("onnx", "http", "given")


class TriedFile(Struct, frozen=True, kw_only=True):
    """What an inferrer said about one file."""

    file: str
    #: None where it failed.
    value: Value
    code: str | None
    message: str | None
    #: Reading, decoding and inferring.
    seconds: float


class Tried(Struct, frozen=True, kw_only=True):
    """What an inferrer said about some files."""

    inferrer: str
    inputs: list[str]
    #: Starting its process and loading it.
    load_seconds: float
    files: list[TriedFile]


def try_inferrer(
    infer: str,
    files: Sequence[Path],
    *,
    folder: Path,
    params: Mapping[str, Value],
    model: Path | None = None,
    limit: timedelta = timedelta(seconds=60),
    allow_hosts: Sequence[str] = (),
) -> Tried:
    """
    What *infer*, ``package.module:Name`` seen from *folder* or ``file.py:Name``, says about each of *files*.

    A JSON file with an object that names all inputs gives their values; any other file is handed over as the one
    input. Each file may take *limit*.

    Raises:
        UsageError: a file is missing, or does not fit what the inferrer takes.
        InferrerBroken: it cannot be loaded.
    """
    for file in [*files, *([model] if model else [])]:
        if not file.is_file():
            raise UsageError(f"There is no file {file}.")
    folder, infer = _found(infer, folder=folder)
    inputs = _inputs(infer, folder=folder, params=params, limit=limit)
    rows = [_row(file, inputs=inputs) for file in files]
    if len({frozenset(row.items()) for row in map(_kinds, rows)}) > 1:
        raise UsageError("Name either files, or JSON files with the values of all inputs, not both at once.")
    runtime = Runtime(
        address=infer,
        infer=infer,
        kind=StageKind.MAP,
        params=params,
        model=_reference(model) if model else None,
        reads=_kinds(rows[0]),
        outputs={},
        batch=1,
        timeout=limit,
    )
    load = Load(
        runtime=runtime,
        model_path=str(model.resolve()) if model else None,
        device=None,
        project=str(folder),
        allow_hosts=tuple(allow_hosts),
    )
    return _tried(ChildRunner(load), infer, files=files, rows=rows)


def _tried(
    runner: ChildRunner, infer: str, *, files: Sequence[Path], rows: Sequence[Mapping[str, bytes | LocalFile]]
) -> Tried:
    try:
        began = time.monotonic()
        # A call without records only loads.
        loaded = runner.run({name: [] for name in rows[0]}, prior=[])
        load_seconds = time.monotonic() - began
        if not isinstance(loaded, Done):
            raise InferrerBroken(loaded.message if isinstance(loaded, Trouble) else loaded.reason)
        found = [_one(runner, file, row) for file, row in zip(files, rows, strict=True)]
    finally:
        runner.close()
    return Tried(inferrer=infer, inputs=list(rows[0]), load_seconds=round(load_seconds, 3), files=found)


def _one(runner: ChildRunner, file: Path, row: Mapping[str, bytes | LocalFile]) -> TriedFile:
    columns = {name: [v if isinstance(v, bytes) else msgspec.msgpack.encode(v)] for name, v in row.items()}
    began = time.monotonic()
    reply = runner.run(columns, prior=[b""])
    seconds = round(time.monotonic() - began, 4)
    if isinstance(reply, Done):
        return _of_outcome(file, reply.outcomes[0], seconds=seconds)
    code, message = (reply.code.value, reply.message) if isinstance(reply, Trouble) else (None, reply.reason)
    return TriedFile(file=str(file), value=None, code=code or "MODEL_ERROR", message=message, seconds=seconds)


def _of_outcome(file: Path, outcome: Outcome, *, seconds: float) -> TriedFile:
    failure = outcome.failure
    return TriedFile(
        file=str(file),
        value=None if failure else decode(outcome.value),
        code=failure.code.value if failure else None,
        message=failure.message if failure else None,
        seconds=seconds,
    )


def _found(infer: str, *, folder: Path) -> tuple[Path, str]:
    """The folder that modules are found in, and the target as a stage would name it."""
    place, colon, name = infer.rpartition(":")
    if not colon:
        if infer in BUILT_IN:
            return folder.resolve(), infer
        raise UsageError(f"{infer} names no inferrer; write package.module:Name, file.py:Name, onnx or http.")
    if not place.endswith(".py"):
        return folder.resolve(), infer
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    return path.resolve().parent, f"{path.stem}:{name}"


def _inputs(infer: str, *, folder: Path, params: Mapping[str, Value], limit: timedelta) -> list[str]:
    """The names of the inferrer's inputs, asked of a child process; none where it takes any."""
    if infer in BUILT_IN:
        return []
    command = [sys.executable, "-P", "-m", "limner.app.inputs_of", str(folder), infer, *params]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=limit.total_seconds(), check=False
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise InferrerBroken(f"{infer} was not imported within {limit.total_seconds():g} s.") from error
    except ValueError as error:
        raise InferrerBroken(f"The process that imports {infer} ended with exit status {done.returncode}.") from error
    if "problem" in answer:
        raise InferrerBroken(answer["problem"])
    return list(answer["inputs"])


def _row(file: Path, *, inputs: Sequence[str]) -> dict[str, bytes | LocalFile]:
    """What is handed over for *file*: by input the encoded value, or the file itself."""
    values = _values(file)
    if values is not None and (set(inputs) <= set(values) and values):
        return {name: encode(values[name]) for name in inputs or values}
    if len(inputs) > 1:
        example = json.dumps(dict.fromkeys(inputs, "…"), ensure_ascii=False)
        raise UsageError(f"It takes {', '.join(inputs)}; name JSON files that hold all of them: {example}")
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return {inputs[0] if inputs else "image": LocalFile(path=str(file.resolve()), sha256=sha256)}


def _values(file: Path) -> dict[str, Value] | None:
    """The object in a JSON file; None where it is none."""
    if file.suffix.lower() != ".json":
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _kinds(row: Mapping[str, bytes | LocalFile]) -> dict[str, FileRead | None]:
    return {name: FileRead() if isinstance(value, LocalFile) else None for name, value in row.items()}


def _reference(model: Path) -> ModelRef:
    with model.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return ModelRef(name=model.stem, number=0, sha256=sha256, filename=model.name)
