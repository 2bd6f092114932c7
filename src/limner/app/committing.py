"""Commits what far workers say: those who wait at the same moment together, and nobody for another one's nonsense."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import structlog

from limner.domain.tasks import Answer, FromWorker
from limner.engine.engine import Engine
from limner.engine.receipts import Receipt, Taken
from limner.errors import LimnerError

_log = structlog.get_logger(__name__)


class Committing:
    """Shared by the threads that workers' calls come in on."""

    def __init__(self, engine: Engine, *, lock: AbstractContextManager[object], project: str) -> None:
        """*lock* is held while the engine does something."""
        self._engine = engine
        self._lock = lock
        self._project = project
        self._queue: deque[_Waiting] = deque()
        self._queue_lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait for their commit."""
        return len(self._queue)

    def commit(self, messages: Sequence[FromWorker]) -> list[Receipt]:
        """Commit *messages*; a receipt of each answer among them, in order, once all is on the disk."""
        mine = _Waiting(messages)
        with self._queue_lock:
            self._queue.append(mine)
        with self._lock:
            if not mine.done:
                self._commit_queue()
        if mine.error is not None:
            raise mine.error
        return mine.receipts

    def _commit_queue(self) -> None:
        """Commit everything that waits, in one transaction; alone what cannot be committed with the others."""
        with self._queue_lock:
            waiting = list(self._queue)
            self._queue.clear()
        groups = deque([waiting])
        while groups:
            group = groups.popleft()
            try:
                receipts = iter(self._engine.answer([message for one in group for message in one.messages]))
            except Exception as error:  # noqa: BLE001  one who sent nonsense must not fail the others
                if len(group) > 1:
                    groups.extend([one] for one in group)
                else:
                    self._commit_alone(group[0], error)
                continue
            for one in group:
                one.take(receipts)

    def _commit_alone(self, one: "_Waiting", error: Exception) -> None:
        """
        Commit what one who failed alone has said, a message at a time; what is nonsense is refused in its receipt.

        It may not be answered with an error: its sender would repeat it for ever, and all that it says after it.
        """
        receipts: list[Receipt] = []
        try:
            if isinstance(error, LimnerError):
                raise error
            for message in one.messages:
                receipts += self._taken(message)
        except LimnerError as failed:
            one.error, one.done = failed, True
        else:
            one.take(iter(receipts))

    def _taken(self, message: FromWorker) -> list[Receipt]:
        """The receipt of one message, where it is an answer."""
        try:
            return self._engine.answer([message])
        except LimnerError:
            raise
        except Exception as error:  # noqa: BLE001  whatever is wrong with it, its sender is told
            _log.exception("message_refused", project=self._project)
            if not isinstance(message, Answer):
                return []
            told = f"It cannot be committed: {type(error).__name__}: {error}"
            return [Receipt(task=message.task, state=Taken.REFUSED, open=0, problems=[told])]


class _Waiting:
    """Messages of somebody who waits for their commit."""

    def __init__(self, messages: Sequence[FromWorker]) -> None:
        self.messages = messages
        self.receipts: list[Receipt] = []
        self.done = False
        self.error: Exception | None = None

    def take(self, receipts: Iterator[Receipt]) -> None:
        """Take one's own from the *receipts* of all."""
        self.receipts = [next(receipts) for message in self.messages if isinstance(message, Answer)]
        self.done = True
