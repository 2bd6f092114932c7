"""From what an inferrer answered for one record to its outcome: checked, encoded, digested."""

import hashlib
from array import array
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from limner.domain.digests import digest
from limner.domain.failures import FailedRecord, Failure, FailureCode
from limner.domain.outputs import Artifact, Vector, problem_of
from limner.domain.pipelines import StageKind
from limner.domain.tasks import Outcome, Runtime, Status
from limner.domain.values import encode
from limner.inferrers.base import whole_value

MEGABYTE = 1_000_000
#: An encoded value above this many bytes is refused: larger things are artifacts.
MAX_OUTPUT_BYTES = 32 * MEGABYTE


class WrittenFile(Struct, frozen=True, kw_only=True):
    """A file that the inferrer wrote as an output: to be uploaded before its outcome is answered."""

    #: In hexadecimal; what the value holds in place of the path.
    sha256: str
    path: Path


class Outcomes:
    """Makes outcomes by what one stage declares."""

    def __init__(self, runtime: Runtime, *, max_output_bytes: int = MAX_OUTPUT_BYTES) -> None:
        """Take the declared outputs of *runtime*'s stage."""
        self._kind = runtime.kind
        self._outputs = dict(runtime.outputs)
        self._identity = runtime.identity
        self._limit = max_output_bytes
        self._vectors = [name for name, output in self._outputs.items() if isinstance(output, Vector)]
        self._artifacts = [name for name, output in self._outputs.items() if isinstance(output, Artifact)]

    def done(self, output: object, *, index: int, read_digest: bytes, files: list[WrittenFile]) -> Outcome:
        """The outcome of *output*: done, or failed as OUTPUT_INVALID or OUTPUT_TOO_LARGE; adds to *files*."""
        written: list[WrittenFile] = []
        try:
            data = self._encoded(output, files=written)
        except MemoryError:
            raise
        except FailedRecord as failed:
            return failed_outcome(failed.failure, index=index, read_digest=read_digest)
        except Exception as error:  # noqa: BLE001  an output may be any object, whose checks may raise anything
            failure = Failure(code=FailureCode.OUTPUT_INVALID, message=f"The output cannot be stored: {error}")
            return failed_outcome(failure, index=index, read_digest=read_digest)
        files += written
        return Outcome(index=index, status=Status.DONE, value=data, value_digest=digest(data), read_digest=read_digest)

    def _encoded(self, output: object, *, files: list[WrittenFile]) -> bytes:
        value = whole_value(output, kind=self._kind)
        if self._kind is StageKind.EXPAND:
            value = self._children(value, files=files)
        else:
            value = self._checked(value, files=files)
        data = encode(value)
        if len(data) > self._limit:
            raise FailedRecord(
                FailureCode.OUTPUT_TOO_LARGE,
                f"The output has {len(data)} bytes, {self._limit} are allowed; answer with a file instead.",
            )
        return data

    def _checked(self, value: object, *, files: list[WrittenFile]) -> object:
        if isinstance(value, dict) and (self._vectors or self._artifacts):
            value = self._stored_form(value, files=files)
        problem = problem_of(value, outputs=self._outputs)
        if problem:
            raise FailedRecord(FailureCode.OUTPUT_INVALID, problem)
        return value

    def _children(self, value: object, *, files: list[WrittenFile]) -> list[object]:
        """An expand's children, each checked, no two with the same identity."""
        if not isinstance(value, list | tuple) or not all(isinstance(child, dict) for child in value):
            raise FailedRecord(
                FailureCode.OUTPUT_INVALID, "The stage expands, so its output is a list of dictionaries, one a child."
            )
        seen: set[bytes] = set()
        for child in value:
            missing = [name for name in self._identity if child.get(name) is None]
            if missing:
                raise FailedRecord(
                    FailureCode.OUTPUT_INVALID, f"A child lacks {', '.join(missing)}, by which it is identified."
                )
            identity = encode([child[name] for name in self._identity])
            if identity in seen:
                names = ", ".join(f"{name} {child[name]!r}" for name in self._identity)
                raise FailedRecord(FailureCode.OUTPUT_INVALID, f"Two children have the same identity: {names}.")
            seen.add(identity)
        return [self._checked(child, files=files) for child in value]

    def _stored_form(self, value: Mapping[str, object], *, files: list[WrittenFile]) -> dict[str, object]:
        """Declared vectors as float32 arrays, declared files as their digests."""
        stored = dict(value)
        for name in self._vectors:
            stored[name] = _as_float32(stored[name]) if name in stored else None
        for name in self._artifacts:
            if isinstance(stored.get(name), Path):
                file = _written(name, stored[name])
                files.append(file)
                stored[name] = file.sha256
        return {name: item for name, item in stored.items() if name in value}


def failed_outcome(failure: Failure, *, index: int, read_digest: bytes, alone: bool = False) -> Outcome:
    """The outcome of a record that failed."""
    return Outcome(index=index, status=Status.FAILED, read_digest=read_digest, failure=failure, alone=alone)


def _as_float32(value: object) -> object:
    """Numbers in whatever array or list as float32, so that equal vectors have equal digests; else as it is."""
    if not (isinstance(value, list | tuple | array) or type(value).__module__ == "numpy"):
        return value
    import numpy as np  # an extra: stages without declared vectors go without it

    numbers = np.asarray(value)
    if numbers.dtype == np.float32 or not np.issubdtype(numbers.dtype, np.number):
        return numbers
    with np.errstate(over="ignore"):
        # What is too large for float32 becomes infinite and is refused by the check that follows.
        return numbers.astype(np.float32)


def _written(name: str, path: object) -> WrittenFile:
    file = Path(str(path))
    try:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        problem = f"{name} is the path {file.name}, which cannot be read: {error.strerror or error}."
        raise FailedRecord(FailureCode.OUTPUT_INVALID, problem) from error
    return WrittenFile(sha256=found, path=file)
