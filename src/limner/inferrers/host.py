"""Runs one loaded inferrer over the records of a task: decode, infer, check, encode; one bad record spares the rest."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from limner.domain.failures import FailedRecord
from limner.domain.tasks import Outcome, Runtime, Status
from limner.domain.versions import Description
from limner.errors import InferrerBroken
from limner.inferrers.base import InferrerUnavailable, OutputsMiscounted
from limner.inferrers.blame import failure_of, reading_failed
from limner.inferrers.connect import load_inferrer
from limner.inferrers.golden import check_golden
from limner.inferrers.inputs import Inputs
from limner.inferrers.made_files import WrittenFile
from limner.inferrers.outcomes import MAX_VALUE_BYTES, Outcomes, failed_outcome

if TYPE_CHECKING:
    # Half of the time in which a process starts; only `http` needs it.
    import httpx


class Ran(Struct, frozen=True, kw_only=True):
    """What became of the records that were run."""

    #: One for each record, in their order; ``index`` is the position in what was run.
    outcomes: list[Outcome]
    #: Files that inferrers wrote; the outcomes that name them count only once these are uploaded.
    files: list[WrittenFile]


class Host:
    """One inferrer, loaded and proven by its golden cases; used by one thread at a time."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        model_path: Path | None = None,
        device: str | None = None,
        client: "httpx.Client | None" = None,
        max_value_bytes: int = MAX_VALUE_BYTES,
        scratch: Path | None = None,
    ) -> None:
        """
        Load the inferrer of *runtime*.

        *device* and *client*: see :func:`limner.inferrers.connect.load_inferrer`. A record whose encoded value has
        more than *max_value_bytes* fails. *scratch* is a folder of the caller's in which files that inferrers answer
        with wait for their upload; without it one is made, and removed when the host is closed.

        Raises:
            InferrerBroken: it cannot be loaded, or does not reproduce the golden cases that it carries.
            MissingExtra: a part that it needs is not installed.
        """
        self._batch = runtime.batch
        self._inferrer = load_inferrer(runtime, model_path=model_path, device=device, client=client)
        problem = check_golden(self._inferrer, self._inferrer.golden(), kind=runtime.kind, reads=runtime.reads)
        if problem:
            self._inferrer.close()
            raise InferrerBroken(f"{runtime.infer}: {problem}")
        self._inputs = Inputs(reads=runtime.reads, wants=self._inferrer.wants(), memory_mb=runtime.memory_mb)
        self._outcomes = Outcomes(runtime, max_value_bytes=max_value_bytes, scratch=scratch)

    def describe(self) -> Description:
        """What the inferrer says of itself."""
        return self._inferrer.describe()

    def run(self, columns: Mapping[str, list[bytes]], *, prior: list[bytes]) -> Ran:
        """
        Infer each record whose read digest is not its *prior* one (empty where there is none).

        *columns* holds by input one encoded value a record, or one encoded
        :class:`~limner.domain.tasks.LocalFile` for files. What an inferrer raises for a batch of more than one
        record is raised on, for the caller to halve; of a single record it becomes the failure.

        Raises:
            MemoryError: there was not enough of it.
            InferrerUnavailable: what infers cannot be reached; no record is to blame.
            InferrerBroken: the inferrer cannot be used at all; OutputsMiscounted only for several records.
            Exception: whatever the inferrer raised for a batch of several records.
        """
        found: list[Outcome] = []
        files: list[WrittenFile] = []
        digests = self._inputs.digests(columns)
        changed: list[int] = []
        for index, (read, before) in enumerate(zip(digests, prior, strict=True)):
            if read == before:
                found.append(Outcome(index=index, status=Status.UNCHANGED, read_digest=read))
            else:
                changed.append(index)
        try:
            for start in range(0, len(changed), self._batch):
                batch = changed[start : start + self._batch]
                found += self._run_batch(columns, indexes=batch, digests=digests, files=files)
        except MemoryError:
            self._inputs.forget()
            raise
        found.sort(key=_position)
        return Ran(outcomes=found, files=files)

    @property
    def decoded(self) -> int:
        """Files that were decoded so far; siblings that read one file count once."""
        return self._inputs.decoded

    def close(self) -> None:
        """Let go of the inferrer."""
        self._inferrer.close()
        self._outcomes.close()

    def _run_batch(
        self,
        columns: Mapping[str, list[bytes]],
        *,
        indexes: list[int],
        digests: list[bytes],
        files: list[WrittenFile],
    ) -> list[Outcome]:
        decoded = self._inputs.decode(columns, indexes=indexes)
        found = [
            failed_outcome(failed.failure, index=index, read_digest=b"") for index, failed in decoded.failed.items()
        ]
        if not decoded.indexes:
            return found
        raised, outputs = False, []
        try:
            outputs = self._inferrer.infer(decoded.columns)
        except Exception as error:
            if len(decoded.indexes) > 1 or not _blames_record(error):
                raise
            raised, outputs = True, [error]
        outputs = self._outcomes.told_apart(outputs)
        done = self._outcomes.done
        for index, output in zip(decoded.indexes, outputs, strict=True):
            if isinstance(output, BaseException):
                found.append(self._failed(output, columns=columns, index=index, digests=digests, alone=raised))
            else:
                found.append(done(output, index=index, read_digest=digests[index], files=files))
        return found

    def _failed(
        self,
        error: BaseException,
        *,
        columns: Mapping[str, list[bytes]],
        index: int,
        digests: list[bytes],
        alone: bool,
    ) -> Outcome:
        if not isinstance(error, Exception) or not _blames_record(error):
            # Answered in place of an output or raised for one record: no neighbour can be saved from it either.
            raise error
        failure = failure_of(error, files=self._inputs.opened_by_inferrer(columns, index=index))
        read = b"" if reading_failed(failure) else digests[index]
        return failed_outcome(failure, index=index, read_digest=read, alone=alone)


def _blames_record(error: Exception) -> bool:
    """Whether *error*, met with one record alone, is the record's; otherwise it would meet any record."""
    if isinstance(error, FailedRecord | OutputsMiscounted):
        return True
    return not isinstance(error, MemoryError | InferrerUnavailable | InferrerBroken)


def _position(outcome: Outcome) -> int:
    return outcome.index
