"""One place at which tasks of one topic are done, one after another, by one inferrer that stays loaded."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import structlog
from msgspec import Struct

from limner.artifacts.base import Artifacts
from limner.artifacts.patience import patiently
from limner.domain.failures import Failure, FailureCode
from limner.domain.tasks import STOPPING, Outcome, Status, Task
from limner.errors import ArtifactMissing, ArtifactsUnavailable, ChecksumMismatch, LimnerError
from limner.worker.batch_size import BatchSize
from limner.worker.calls import Load, Reply, Runner, Written
from limner.worker.child import ChildRunner
from limner.worker.inline import InlineRunner
from limner.worker.isolate import InferrerUnusable, Part, isolate
from limner.worker.models import ModelFiles
from limner.worker.prepared import Prepared
from limner.worker.report import Report

_log = structlog.get_logger(__name__)

#: For so long a file that was inferred waits for artifacts that are away or full; its task is held meanwhile.
_STORING = timedelta(minutes=10)
#: Files of one batch that are stored at once.
_AT_ONCE = 4


class Place(Struct, frozen=True, kw_only=True):
    """Where a worker's inferrers run, and what they are given."""

    #: Folder that the user's modules are found in, and that child processes stand in.
    project: Path
    #: Where inferrers run unless their parameters say so: ``cpu``, ``cuda:0``.
    device: str | None
    allow_hosts: tuple[str, ...]
    #: Takes what the user's code prints; None sends it to the worker's standard error.
    log: Path | None
    #: The setting ``max_value_bytes``.
    max_value_bytes: int = 8_000_000
    #: A child process that grew by more bytes is replaced between two batches; None lets it grow.
    max_growth: int | None = None


class Stopping(Exception):
    """The worker is stopping."""


class Slot:
    """Runs prepared tasks in the thread that calls it; its child process belongs to that thread."""

    def __init__(self, place: Place, *, artifacts: Artifacts, models: ModelFiles) -> None:
        self._place = place
        self._artifacts = artifacts
        self._models = models
        self._runner: Runner | None = None
        self._loaded: tuple[str, str] | None = None
        self._size = BatchSize()
        #: Set: take no further batch.
        self.stopping = threading.Event()
        self._killed = False

    def work(self, prepared: Prepared, *, report: Report) -> None:
        """Do the whole task; whatever happens, its report is ended."""
        task = prepared.task
        report.begin()
        try:
            self._run(prepared, report=report)
            report.finish()
        except Stopping:
            report.release(STOPPING)
        except (ArtifactMissing, ChecksumMismatch) as error:
            name = task.runtime.model.name if task.runtime.model else ""
            told = f"The model {name} of {task.runtime.address} is not what was added: {error}"
            report.fail_the_rest(Failure(code=FailureCode.MODEL_UNAVAILABLE, message=told))
        except (InferrerUnusable, ArtifactsUnavailable) as error:
            _log.warning("inferrer_unusable", task=task.id, stage=task.runtime.address, reason=str(error))
            # Loaded anew for the next task: what ails it may have been mended.
            self.close()
            report.release(str(error))
        except Exception as error:  # noqa: BLE001  a worker's thread answers for every task, and goes on
            _log.exception("task_broke_the_worker", task=task.id, stage=task.runtime.address)
            told = f"The worker could not handle the task: {type(error).__name__}: {error}"
            report.fail_the_rest(Failure(code=FailureCode.MODEL_ERROR, message=told, reason="worker error"))

    def kill(self) -> None:
        """End the call that is under way; from another thread, when a stopping worker's grace is over."""
        self.stopping.set()
        self._killed = True
        runner = self._runner
        if runner is not None:
            runner.kill()

    def close(self) -> None:
        """Let go of the inferrer."""
        if self._runner is not None:
            self._runner.close()
        self._runner, self._loaded = None, None

    def _run(self, prepared: Prepared, *, report: Report) -> None:
        """Infer batch after batch."""
        if prepared.problem is not None:
            raise LimnerError(prepared.problem)
        runner = self._runner_for(prepared.task)
        while True:
            batch = prepared.next_batch(given_up=lambda: self.stopping.is_set() or report.ended)
            if self.stopping.is_set():
                raise Stopping
            if batch is None or report.ended:
                return
            report.add(batch.failed)
            run = self._calls(runner, prepared=prepared, report=report)
            for part in isolate(run, batch.positions, size=self._size) if batch.positions else ():
                report.add(self._uploaded(part, runner=runner))

    def _calls(self, runner: Runner, *, prepared: Prepared, report: Report) -> Callable[[Sequence[int]], Reply]:
        """Calls the inferrer with records of one task, and counts the time."""

        def run(positions: Sequence[int]) -> Reply:
            if self._killed:
                raise Stopping
            began = time.monotonic()
            reply = runner.run(prepared.columns(positions), prior=prepared.prior(positions))
            report.spend(time.monotonic() - began)
            if self._killed:
                # The process was ended by the worker, so its end says nothing about the records.
                raise Stopping
            return reply

        return run

    def _runner_for(self, task: Task) -> Runner:
        """The runner that is loaded, or one for another version."""
        wanted = (task.runtime.address, task.version)
        if self._runner is not None and self._loaded == wanted:
            return self._runner
        self.close()
        model_path = self._models.path(task.runtime.model) if task.runtime.model else None
        load = Load(
            runtime=task.runtime,
            model_path=str(model_path) if model_path else None,
            device=self._place.device,
            project=str(self._place.project),
            allow_hosts=self._place.allow_hosts,
            max_value_bytes=self._place.max_value_bytes,
        )
        if task.runtime.isolation == "thread":
            self._runner = InlineRunner(load)
        else:
            self._runner = ChildRunner(load, log=self._place.log, max_growth=self._place.max_growth)
        self._loaded, self._size = wanted, BatchSize()
        return self._runner

    def _uploaded(self, part: Part, *, runner: Runner) -> list[Outcome]:
        """The outcomes, once the files that they name are stored, so that nobody hears of them before."""
        lost: dict[int, Failure] = {}
        same = list(_by_digest(part.files).values())
        if same:
            # What is far away is waited for: several files at once.
            with ThreadPoolExecutor(min(_AT_ONCE, len(same)), thread_name_prefix="upload") as pool:
                for files, failure in zip(same, pool.map(self._lost, [files[0] for files in same]), strict=True):
                    lost |= {} if failure is None else dict.fromkeys((file.index for file in files), failure)
        for file in part.files:
            runner.tidy(Path(file.path))
        return [_failed(outcome, lost.get(outcome.index)) for outcome in part.outcomes]

    def _lost(self, file: Written) -> Failure | None:
        """Why a file that was inferred is no more; None once it is stored."""
        try:
            self._stored(Path(file.path), sha256=file.sha256)
        except (FileNotFoundError, ChecksumMismatch):
            told = f"The file {Path(file.path).name} was changed or removed after it was answered."
            return Failure(code=FailureCode.OUTPUT_INVALID, message=told)
        except (OSError, LimnerError) as error:
            if self.stopping.is_set():
                raise Stopping from error
            raise InferrerUnusable(f"A file of an output could not be stored: {error}") from error
        return None

    def _stored(self, file: Path, *, sha256: str) -> None:
        """Store a file that was inferred; where there is no room, again and again: what is inferred is not given up."""
        patiently(
            lambda: self._artifacts.put_file(file, expected=sha256),
            away=ArtifactsUnavailable,
            patience=_STORING,
            over=self.stopping,
        )


def _by_digest(files: Sequence[Written]) -> dict[str, list[Written]]:
    """Files with the same bytes are stored once."""
    found: dict[str, list[Written]] = {}
    for file in files:
        found.setdefault(file.sha256, []).append(file)
    return found


def _failed(outcome: Outcome, failure: Failure | None) -> Outcome:
    """*outcome*, or the failure in its place."""
    if failure is None:
        return outcome
    return Outcome(
        index=outcome.index, status=Status.FAILED, read_digest=outcome.read_digest, failure=failure, alone=outcome.alone
    )
