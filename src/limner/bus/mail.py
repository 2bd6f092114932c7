"""Bus of a far worker that reaches a broker alone: tasks and answers directly, all else by letters."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import msgspec
import structlog
from msgspec import Struct

from limner.bus.base import Bus, Delivery
from limner.bus.mail_client import MailClient
from limner.domain.tasks import ANSWERS, STOPPING, Heartbeat, Released, decode_from_worker, encode_message
from limner.domain.workers import Told
from limner.errors import BusUnavailable, ServerRefused, ServerUnavailable, UsageError

_log = structlog.get_logger(__name__)

#: A worker that may do nothing of a topic asks again after so long, in seconds.
_ASK_AGAIN = 5.0


class Admitted(Struct, frozen=True, kw_only=True):
    """What a worker may do, as the server says."""

    #: By topic: the digests of the versions.
    versions: dict[str, list[str]]
    told: list[Told] = []


class Extended(Struct, frozen=True, kw_only=True):
    """What a worker hears when it says which tasks it holds."""

    #: Those that nobody waits for.
    cancelled: list[int]


class _Peek(Struct, frozen=True):
    """What must be known of a task without understanding it."""

    id: int
    attempt: int
    version: str


_task = msgspec.msgpack.Decoder(_Peek)


class MailBus(Bus):
    """
    The broker's queues, for one worker that has said hello.

    The server does not stand between the queue and the worker, so it is the worker that looks at a task's version: one
    that it may not do goes back, and it takes no more of that topic until the server says that it may.
    """

    shared = True

    def __init__(
        self,
        client: MailClient,
        *,
        worker: str,
        serves: Callable[[], Sequence[tuple[str, str]]],
        cancelled: Callable[[list[int]], None],
        told: Callable[[Sequence[Told]], None],
    ) -> None:
        """*serves* says stage and implementation of what the worker serves by now."""
        self._client = client
        self._bus = client.bus
        self._worker = worker
        self._serves = serves
        self._cancelled = cancelled
        self._told = told
        self._versions: Mapping[str, frozenset[str]] = {}
        self._asked = 0.0
        self._lock = threading.Lock()

    def publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        """
        Publish answers; heartbeats travel as letters.

        Raises:
            BusUnavailable: the broker cannot be reached.
            UsageError: *topic* is not that of answers: a worker hands out no tasks.
        """
        if topic != ANSWERS:
            raise UsageError(f"A far worker publishes answers only, and nothing on {topic}.")
        messages = [(body, decode_from_worker(body)) for body in bodies]
        self._bus.publish(ANSWERS, [body for body, message in messages if not isinstance(message, Heartbeat)])
        for _, message in messages:
            if isinstance(message, Heartbeat):
                self._hold(message.tasks)

    def take(self, topics: Sequence[str], *, limit: int, wait: timedelta = timedelta()) -> list[Delivery]:
        """Take tasks of those *topics* that the worker may do, in a version that it may do."""
        versions = self._may(topics)
        allowed = [topic for topic in topics if versions.get(topic)]
        if not allowed:
            self._client.over.wait(wait.total_seconds())
            return []
        found = self._bus.take(allowed, limit=limit, wait=wait)
        try:
            return self._sorted(found, versions)
        except BusUnavailable:
            self._bus.release(found)
            raise

    def _sorted(self, found: Sequence[Delivery], versions: Mapping[str, frozenset[str]]) -> list[Delivery]:
        """Those of *found* that the worker does; the others go back to the engine."""
        tasks = [_task.decode(delivery.body) for delivery in found]
        if any(task.version not in versions[one.topic] for one, task in zip(found, tasks, strict=True)):
            # A version has moved: perhaps the worker serves the new one.
            versions = self._ask()
        mine = []
        for delivery, task in zip(found, tasks, strict=True):
            if task.version in versions.get(delivery.topic, ()):
                mine.append((delivery, task.id))
            else:
                self._refuse(delivery, task)
        if mine:
            self._hold([task for _, task in mine])
        return [delivery for delivery, _ in mine]

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Forget tasks: what was said of them has arrived."""
        self._bus.acknowledge(deliveries)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Put tasks back where others find them."""
        self._bus.release(deliveries)

    def count(self, topic: str) -> int:
        """How many tasks wait."""
        return self._bus.count(topic)

    def close(self) -> None:
        """Hang up; the client, and the bus with it, is closed by whoever made it."""
        return

    def _hold(self, tasks: Sequence[int]) -> None:
        """Say that the worker holds these, and hear later which of them nobody waits for."""

        def heard(body: bytes) -> None:
            gone = msgspec.json.decode(body, type=Extended).cancelled
            if gone:
                self._cancelled(gone)

        self._client.mention("tasks:extend", {"worker_id": self._worker, "tasks": list(tasks)}, heard=heard)

    def _refuse(self, delivery: Delivery, task: _Peek) -> None:
        """Give a task back that is of a version which the worker does not serve; the engine sends it again."""
        _log.warning("task_of_another_version", task=task.id, topic=delivery.topic, version=task.version)
        given = Released(worker=self._worker, task=task.id, attempt=task.attempt, reason=STOPPING)
        self._bus.publish(ANSWERS, [encode_message(given)])
        self._bus.acknowledge([delivery])

    def _may(self, topics: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """The versions that the worker may do, asked for where one of *topics* is not among them."""
        versions = self._versions
        if all(versions.get(topic) for topic in topics) or time.monotonic() - self._asked < _ASK_AGAIN:
            return versions
        return self._ask()

    def _ask(self) -> Mapping[str, frozenset[str]]:
        """
        Ask what the worker may do.

        Raises:
            BusUnavailable: nobody answers.
        """
        with self._lock:
            serves = [{"stage": stage, "implementation": name} for stage, name in self._serves()]
            said = {"worker_id": self._worker, "serves": serves}
            try:
                answer = self._client.tell("tasks:admit", said, type=Admitted)
            except (ServerUnavailable, ServerRefused) as error:
                raise BusUnavailable(str(error)) from error
            self._asked = time.monotonic()
            self._versions = {topic: frozenset(found) for topic, found in answer.versions.items()}
        if answer.told:
            self._told(answer.told)
        return self._versions
