"""From what an inferrer answered for one record to its outcome: checked, encoded, digested."""

from array import array
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from limner.domain.digests import digest
from limner.domain.failures import FailedRecord, Failure, FailureCode
from limner.domain.outputs import Artifact, Vector, problem_of
from limner.domain.pipelines import StageKind
from limner.domain.tasks import Outcome, Runtime, Status
from limner.domain.values import encode
from limner.inferrers.base import whole_value
from limner.inferrers.made_files import MadeFile, Scratch, WrittenFile, made_file

#: An encoded value above this many bytes is refused, unless a worker's settings say otherwise: larger things are files.
MAX_VALUE_BYTES = 8_000_000


class Outcomes:
    """Makes outcomes by what one stage declares."""

    def __init__(
        self, runtime: Runtime, *, max_value_bytes: int = MAX_VALUE_BYTES, scratch: Path | None = None
    ) -> None:
        """Take the declared outputs of *runtime*'s stage; files are written to *scratch*, or to a folder made then."""
        self._kind = runtime.kind
        self._outputs = dict(runtime.outputs)
        self._identity = runtime.identity
        self._limit = max_value_bytes
        self._scratch = Scratch(scratch)
        self._vectors = [name for name, output in self._outputs.items() if isinstance(output, Vector)]
        self._artifacts = {name: output for name, output in self._outputs.items() if isinstance(output, Artifact)}
        #: Files of this call that several records name, so that each is read once.
        self._shared: dict[Path, MadeFile] = {}

    def told_apart(self, outputs: list[object]) -> list[object]:
        """*outputs*, with a failure in place of each that names a file which another one names too."""
        self._shared.clear()
        named = [set(self._own_paths(output)) for output in outputs]
        counted = Counter(path for paths in named for path in paths)
        return [
            _shared() if any(counted[path] > 1 for path in paths) else output
            for output, paths in zip(outputs, named, strict=True)
        ]

    def done(self, output: object, *, index: int, read_digest: bytes, files: list[WrittenFile]) -> Outcome:
        """
        The outcome of *output*: done, or failed as OUTPUT_INVALID or OUTPUT_TOO_LARGE; adds to *files*.

        Raises:
            InferrerUnavailable: a file of it cannot be written.
        """
        made: list[MadeFile] = []
        try:
            data = self._encoded(output, made=made)
        except MemoryError:
            raise
        except FailedRecord as failed:
            failure = failed.failure
        except Exception as error:  # noqa: BLE001  an output may be any object, whose checks may raise anything
            failure = Failure(code=FailureCode.OUTPUT_INVALID, message=f"The output cannot be stored: {error}")
        else:
            files += [self._scratch.keep(file, index=index) for file in made]
            return Outcome(
                index=index, status=Status.DONE, value=data, value_digest=digest(data), read_digest=read_digest
            )
        for path in self._own_paths(output):
            self._scratch.drop(path)
        return failed_outcome(failure, index=index, read_digest=read_digest)

    def close(self) -> None:
        """Remove the files that were written where nobody else does."""
        self._scratch.close()

    def _encoded(self, output: object, *, made: list[MadeFile]) -> bytes:
        value = whole_value(output, kind=self._kind)
        value = self._children(value) if self._kind is StageKind.EXPAND else self._checked(value, made=made)
        data = encode(value)
        if len(data) > self._limit:
            raise FailedRecord(
                FailureCode.OUTPUT_TOO_LARGE,
                f"The value has {len(data):,} bytes, and {self._limit:,} are allowed (max_value_bytes): "
                "declare what is large as an Artifact, and answer with its bytes, a Path or an array.",
            )
        return data

    def _checked(self, value: object, *, made: list[MadeFile]) -> object:
        if isinstance(value, dict) and (self._vectors or self._artifacts):
            value = self._stored_form(value, made=made)
        problem = problem_of(value, outputs=self._outputs)
        if problem:
            raise FailedRecord(FailureCode.OUTPUT_INVALID, problem)
        return value

    def _own_paths(self, output: object) -> list[Path]:
        """The files that *output* names for artifacts that no other record may name."""
        value = whole_value(output, kind=self._kind)
        if not isinstance(value, dict):
            return []
        answers = [value.get(name) for name, artifact in self._artifacts.items() if not artifact.shared]
        return [answer for answer in answers if isinstance(answer, Path)]

    def _made(self, name: str, answer: object, *, output: Artifact) -> MadeFile | None:
        """The file that *answer* stands for; one that several records share is read once."""
        if not (output.shared and isinstance(answer, Path)):
            return made_file(name, answer, output=output)
        if answer not in self._shared:
            file = made_file(name, answer, output=output)
            if file is None:
                return None
            self._shared[answer] = file
        return self._shared[answer]

    def _children(self, value: object) -> list[object]:
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
        return [self._checked(child, made=[]) for child in value]

    def _stored_form(self, value: Mapping[str, object], *, made: list[MadeFile]) -> dict[str, object]:
        """Declared vectors as float32 arrays, declared files as references to them."""
        stored = dict(value)
        for name in self._vectors:
            stored[name] = _as_float32(stored[name]) if name in stored else None
        for name, output in self._artifacts.items():
            answer = stored.get(name)
            file = self._made(name, answer, output=output)
            if file is not None:
                made.append(file)
                stored[name] = file.reference()
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


def _shared() -> FailedRecord:
    told = "The output names a file that another record's output names too; write one file for each record."
    return FailedRecord(FailureCode.OUTPUT_INVALID, told)
