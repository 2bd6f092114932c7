"""Infers one file now, by the version that is served, without storing anything."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from limner.domain.tasks import LocalFile, Runtime, Status
from limner.domain.values import Value, decode
from limner.errors import InferrerBroken, UsageError
from limner.worker.calls import Done, Load, Trouble
from limner.worker.child import ChildRunner


def infer_file(
    runtime: Runtime, file: Path, *, project: Path, model: Path | None, allow_hosts: Sequence[str] = ()
) -> Value:
    """
    What the inferrer of *runtime*, which reads one file, says about *file*; it runs in a child process.

    Raises:
        UsageError: the file cannot be read as what the inferrer takes; the sentence says why.
        InferrerBroken: the inferrer cannot be loaded, or its process ended.
    """
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    name = next(iter(runtime.reads))
    local = LocalFile(path=str(file.resolve()), sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    load = Load(
        runtime=runtime,
        model_path=None if model is None else str(model),
        device=None,
        project=str(project),
        allow_hosts=tuple(allow_hosts),
    )
    runner = ChildRunner(load)
    try:
        reply = runner.run({name: [msgspec.msgpack.encode(local)]}, prior=[b""])
    finally:
        runner.close()
    if not isinstance(reply, Done):
        raise InferrerBroken(reply.message if isinstance(reply, Trouble) else reply.reason)
    outcome = reply.outcomes[0]
    if outcome.status is not Status.DONE:
        failure = outcome.failure
        raise UsageError(f"{file}: {failure.code}: {failure.message}" if failure else f"{file} gave no value.")
    return decode(outcome.value)
