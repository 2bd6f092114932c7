"""One served stage: asks from many sides are collected into batches for one inferrer that stays loaded."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import structlog
from msgspec import Struct, structs

from limner.artifacts.base import Artifacts
from limner.domain.failures import Failure, FailureCode
from limner.domain.retry import final
from limner.domain.tasks import Outcome, Status
from limner.errors import ArtifactMissing, ChecksumMismatch, InferrerBroken, LimnerError
from limner.worker.calls import Done, Reply, Runner, Trouble, Unusable
from limner.worker.isolate import InferrerUnusable, Part, isolate

_log = structlog.get_logger(__name__)

#: Batches that may wait; who comes when they do is sent away.
_MOST_BATCHES = 64
#: Seconds after which an inferrer that could not be loaded is tried again.
_AGAIN = 2.0


class Asked(Struct, kw_only=True):
    """One record that somebody waits for."""

    #: By input: its encoded value, or the encoded file at hand.
    row: Mapping[str, bytes]
    done: Callable[[Outcome], None]


class Busy(LimnerError):
    """More waits for a stage than it can do soon; asking again in a moment is safe."""


class Collector:
    """
    Feeds one inferrer, in a thread of its own, with whatever waits.

    While the inferrer works, asks gather; when it is free it is given all of them, up to a batch. Only where the batch
    before had several records is the next one waited for, at most *window*: somebody who asks alone never waits.
    """

    def __init__(
        self,
        name: str,
        *,
        make: Callable[[], Runner],
        inputs: Sequence[str],
        batch: int,
        window: timedelta,
        artifacts: Artifacts,
    ) -> None:
        self.name = name
        self._make = make
        self._inputs = list(inputs)
        self._batch = batch
        self._window = window.total_seconds()
        self._artifacts = artifacts
        self._waiting: deque[Asked] = deque()
        self._loads: list[Future[None]] = []
        self._wake = threading.Condition()
        self._wanted = 1
        self._idle = True
        self._closing = False
        self._runner: Runner | None = None
        self._problem: tuple[float, str] | None = None
        #: Records in the batch before.
        self._before = 1
        #: When it was last asked, on the monotonic clock.
        self.used = time.monotonic()
        self._thread = threading.Thread(target=self._work, name=f"online-{name}", daemon=True)
        self._thread.start()

    @property
    def loaded(self) -> bool:
        """Whether its inferrer can be called."""
        return self._runner is not None and self._problem is None

    def ask(self, asked: Sequence[Asked]) -> None:
        """
        Have these records inferred; each is told its outcome in the collector's thread.

        Raises:
            Busy: too many wait already.
        """
        self.used = time.monotonic()
        with self._wake:
            if self._closing:
                raise Busy(f"{self.name} is being put away; ask again.")
            if len(self._waiting) + len(asked) > max(_MOST_BATCHES * self._batch, 1024):
                raise Busy(f"{len(self._waiting)} records wait for {self.name} already; ask again in a moment.")
            self._waiting.extend(asked)
            if self._idle and len(self._waiting) >= self._wanted:
                self._wake.notify()

    def load(self) -> "Future[None]":
        """Load the inferrer now; the future ends when it can be called, or with InferrerBroken."""
        self.used = time.monotonic()
        future: Future[None] = Future()
        with self._wake:
            self._loads.append(future)
            self._wake.notify()
        return future

    def close(self, *, grace: timedelta = timedelta()) -> None:
        """Take no more, do what waits within *grace*, and let go of the inferrer."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(grace.total_seconds())
        runner = self._runner
        if self._thread.is_alive() and runner is not None:
            runner.kill()
            self._thread.join(1.0)

    def _work(self) -> None:
        """Batch after batch, until it is closed and nothing waits."""
        while True:
            loads, batch = self._next()
            for future in loads:
                self._load(future)
            if batch:
                self._run(batch)
            elif not loads:
                break
        if self._runner is not None:
            self._runner.close()

    def _next(self) -> tuple[list["Future[None]"], list[Asked]]:
        """What is to be loaded, or the next batch; neither at the end."""
        with self._wake:
            while not self._waiting and not self._loads and not self._closing:
                self._wait(1, None)
            wanted = min(self._before, self._batch)
            if not self._loads and not self._closing and len(self._waiting) < wanted:
                ends = time.monotonic() + self._window
                while len(self._waiting) < wanted and (left := ends - time.monotonic()) > 0:
                    self._wait(wanted, left)
            loads, self._loads = self._loads, []
            if loads:
                return loads, []
            batch = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
            # What waits by now came while the batch before was done: all of it counts as coming together.
            self._before = len(batch) + len(self._waiting)
        return loads, batch

    def _wait(self, wanted: int, seconds: float | None) -> None:
        self._wanted, self._idle = wanted, True
        self._wake.wait(seconds)
        self._idle = False

    def _load(self, future: "Future[None]") -> None:
        """A call without records only loads."""
        self._problem = None
        try:
            reply = self._called([])
        except LimnerError as error:
            future.set_exception(error if isinstance(error, InferrerBroken) else InferrerBroken(str(error)))
            return
        if isinstance(reply, Done):
            future.set_result(None)
        else:
            told = reply.message if isinstance(reply, Trouble) else reply.reason
            future.set_exception(InferrerBroken(self._broken(told)))

    def _run(self, batch: list[Asked]) -> None:
        """Infer a batch; whatever happens, each of its records is told something."""
        open_ones = dict(enumerate(batch))
        try:
            for part in isolate(lambda positions: self._called([batch[at] for at in positions]), range(len(batch))):
                self._keep(part)
                for outcome in part.outcomes:
                    asked = open_ones.pop(outcome.index, None)
                    if asked is not None:
                        asked.done(_settled(outcome))
        except InferrerUnusable as error:
            self._tell(open_ones.values(), FailureCode.MODEL_UNAVAILABLE, self._broken(str(error)))
        except (ArtifactMissing, ChecksumMismatch) as error:
            told = self._broken(f"The model of {self.name} is not what was added: {error}")
            self._tell(open_ones.values(), FailureCode.MODEL_UNAVAILABLE, told)
        except Exception as error:  # noqa: BLE001  whoever waits is told, and the next batch is taken
            _log.exception("online_batch_broke", stage=self.name)
            told = f"The server could not have it inferred: {type(error).__name__}: {error}"
            self._tell(open_ones.values(), FailureCode.MODEL_ERROR, told)

    def _called(self, asked: Sequence[Asked]) -> Reply:
        if self._problem is not None and time.monotonic() < self._problem[0]:
            return Unusable(reason=self._problem[1])
        self._problem = None
        if self._runner is None:
            self._runner = self._make()
        columns = {name: [one.row[name] for one in asked] for name in self._inputs}
        return self._runner.run(columns, prior=[b""] * len(asked))

    def _broken(self, reason: str) -> str:
        """Let go of an inferrer that cannot be used, to load it anew a little later; why that is."""
        self._problem = (time.monotonic() + _AGAIN, reason)
        if self._runner is not None:
            self._runner.close()
            self._runner = None
        return reason

    def _keep(self, part: Part) -> None:
        """Store the files that outcomes name, before anybody hears of them."""
        for file in part.files:
            self._artifacts.put_file(Path(file.path), expected=file.sha256)
            if self._runner is not None:
                self._runner.tidy(Path(file.path))

    def _tell(self, asked: Iterable[Asked], code: FailureCode, message: str) -> None:
        failure = Failure(code=code, message=message)
        for one in list(asked):
            one.done(Outcome(index=0, status=Status.FAILED, failure=failure))


def _settled(outcome: Outcome) -> Outcome:
    """*outcome* as whoever waits for it is told: nobody tries again here, so a process that it ended is its end."""
    if outcome.failure is None:
        return outcome
    return structs.replace(outcome, failure=final(outcome.failure, tried=1))
