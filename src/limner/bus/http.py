"""Bus of a far worker: tasks and answers travel in calls of a server, outbound only."""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

import msgspec
import structlog
from msgspec import Struct, structs

from limner.bus.base import Bus, Delivery
from limner.bus.outbox import MEGABYTE, Kept, Outbox
from limner.domain.failures import Failure, FailureCode
from limner.domain.tasks import (
    ANSWERS,
    Answer,
    FromWorker,
    Heartbeat,
    Released,
    Status,
    decode_from_worker,
    encode_message,
)
from limner.domain.workers import Told
from limner.errors import BusUnavailable, ServerRefused, ServerUnavailable, UsageError
from limner.server_client import JSON, MESSAGES, ServerClient

_log = structlog.get_logger(__name__)

#: Messages in one call at most.
_GROUP = 64
#: First and longest wait before a server that could not be reached is asked again, in seconds.
_AGAIN = (0.1, 10.0)
#: The longest that one question for tasks may take.
_LONG_POLL = timedelta(seconds=30)
#: A worker that could say nothing for so many bytes takes nothing more in hand.
_TOO_MUCH = 1000 * MEGABYTE
#: The token is not accepted, whatever is said with it.
_NOT_PERMITTED = (401, 403)
_T = TypeVar("_T")


class Taken(Struct, frozen=True):
    """What a question for tasks is answered with: topic, lease token and encoded task of each."""

    tasks: list[tuple[str, str, bytes]]
    told: list[Told] = []


class Receipt(Struct, frozen=True):
    """What became of the records of one answer."""

    task_id: int
    #: ``committed``, ``duplicate``, ``late_accepted``, ``cancelled`` or ``refused``.
    state: str
    open: int = 0
    problems: list[str] = []


class Receipts(Struct, frozen=True):
    """What became of several answers, in their order."""

    tasks: list[Receipt]


class Lease(Struct, frozen=True):
    """Where a lease stands: ``held``, ``lost`` or ``cancelled``."""

    task_id: int
    state: str
    expires_at: float | None = None


class _Leases(Struct, frozen=True):
    leases: list[Lease]


class _Waiting(Struct, frozen=True):
    address: str
    waiting: int = 0


class _Implementations(Struct, frozen=True):
    implementations: list[_Waiting]


class _Peek(Struct, frozen=True):
    """What must be known of a task without understanding it."""

    id: int


_tasks = msgspec.msgpack.Decoder(_Peek)
_taken = msgspec.msgpack.Decoder(Taken)
_receipts = msgspec.json.Decoder(Receipts)


def _nothing(_: list[int]) -> None:
    return


def _no_bound(_: str) -> int | None:
    return None


def _silence(_: Sequence[Told]) -> None:
    return


class HttpBus(Bus):
    """
    Tasks and answers over a server's ``tasks:`` calls, for one worker, which has said hello.

    It carries tasks to the worker and answers away, and nothing else. A task is acknowledged to the server's own bus
    when it is handed out; what comes after is its lease's matter. An answer is kept until the server has said what
    became of it, however long the server is away.
    """

    def __init__(
        self,
        client: ServerClient,
        *,
        worker: str,
        max_body_bytes: int = 10 * MEGABYTE,
        max_bytes: int | None = None,
        max_records: Callable[[str], int | None] = _no_bound,
        cancelled: Callable[[list[int]], None] = _nothing,
        told: Callable[[Sequence[Told]], None] = _silence,
    ) -> None:
        """
        Speak for *worker*.

        A question for tasks asks for *max_records* of a topic at most, and for *max_bytes* as far as sizes are known.
        *cancelled* is called with tasks that nobody waits for any more, *told* with reasons why nothing is given.
        """
        self.worker = worker
        self.max_body_bytes = max_body_bytes
        self._max_bytes = max_bytes
        self._max_records = max_records
        self._client = client
        self._cancelled = cancelled
        self._told = told
        self._tokens: dict[int, str] = {}
        self._lock = threading.Lock()
        self._outbox = Outbox()
        self._sender = threading.Thread(target=self._send_all, name="answers to the server", daemon=True)
        self._sender.start()

    def publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        """
        Keep answers until the server has taken them, and ask for the leases of a heartbeat at once.

        Raises:
            BusUnavailable: the server cannot be reached, or has taken nothing for very long.
            UsageError: *topic* is not that of answers: a worker hands out no tasks.
        """
        if topic != ANSWERS:
            raise UsageError(f"A far worker publishes answers only, and nothing on {topic}.")
        for body in bodies:
            message = decode_from_worker(body)
            if isinstance(message, Heartbeat):
                self._extend(message)
            elif self._outbox.filed > _TOO_MUCH:
                raise BusUnavailable(f"The server has not taken {self._outbox.count()} answers yet.")
            else:
                self._keep(message, body)

    def take(self, topics: Sequence[str], *, limit: int, wait: timedelta = timedelta()) -> list[Delivery]:
        """
        Ask the server for tasks of *topics*, at most *limit*; it answers within *wait*.

        Raises:
            BusUnavailable: the server cannot be reached, or refuses; asking again is safe.
        """
        if not topics:
            return []
        patience = min(wait, _LONG_POLL)
        asked = {
            "worker_id": self.worker,
            "serves": [dict(zip(("stage", "implementation"), topic.split("/", 1), strict=True)) for topic in topics],
            "max_tasks": limit,
            "max_records": min((most for t in topics if (most := self._max_records(t)) is not None), default=None),
            "max_bytes": self._max_bytes,
            "wait_s": patience.total_seconds(),
        }
        answer = self._asked("tasks:take", asked, patience=patience + timedelta(seconds=30))
        taken = _taken.decode(answer)
        if taken.told:
            self._told(taken.told)
        found = [Delivery(topic=topic, tag=token, body=body) for topic, token, body in taken.tasks]
        with self._lock:
            self._tokens.update((_tasks.decode(one.body).id, one.tag) for one in found)
        return found

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Hold the tasks no longer: what was said of them is kept, or has arrived."""
        with self._lock:
            for delivery in deliveries:
                self._tokens.pop(_tasks.decode(delivery.body).id, None)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """
        Give tasks back to the server; one that is not held any more is passed over.

        Raises:
            BusUnavailable: the server cannot be reached; their leases run out.
        """
        with self._lock:
            held = [_tasks.decode(delivery.body).id for delivery in deliveries]
            leases = [{"task_id": task, "token": self._tokens.pop(task)} for task in held if task in self._tokens]
        if leases:
            body = {"worker_id": self.worker, "leases": leases, "reason": "The worker gives it back."}
            self._call(lambda: self._client.tell("tasks:release", body, type=dict[str, object]))

    def count(self, topic: str) -> int:
        """How many tasks of *topic* wait on the server's own bus."""
        found = self._call(lambda: self._client.ask("work/implementations", type=_Implementations))
        return sum(one.waiting for one in found.implementations if one.address == topic)

    def flush(self, within: timedelta) -> bool:
        """Wait until the server has taken every answer; whether it has."""
        return self._outbox.wait_empty(within)

    def close(self) -> None:
        """Wait shortly for answers that are on their way, and hang up: the server finds what is owed of the rest."""
        self._outbox.wait_empty(timedelta(seconds=2))
        self._outbox.close()
        self._client.over.set()
        self._sender.join(5.0)
        self._client.close()

    def _keep(self, message: Answer | Released, body: bytes) -> None:
        """Keep a message of the task that its token stands for."""
        with self._lock:
            token = self._tokens.get(message.task, "")
        path = "tasks:complete" if isinstance(message, Answer) else "tasks:release"
        self._outbox.add(body, path=path, token=token)

    def _extend(self, beat: Heartbeat) -> None:
        """Move the leases of tasks, and hear which of them nobody waits for."""
        with self._lock:
            leases = [{"task_id": t, "token": self._tokens[t]} for t in beat.tasks if t in self._tokens]
        if not leases:
            return
        body = {"worker_id": self.worker, "leases": leases}
        found = self._call(lambda: self._client.tell("tasks:extend", body, type=_Leases))
        ended = [lease.task_id for lease in found.leases if lease.state == "cancelled"]
        if ended:
            self._cancelled(ended)

    def _asked(self, path: str, asked: object, *, patience: timedelta) -> bytes:
        """What a question is answered with, as messages."""
        headers = {"Content-Type": JSON, "Accept": MESSAGES}
        body = msgspec.json.encode(asked)
        return self._call(
            lambda: self._client.call("POST", path, body=body, headers=headers, patience=patience).content
        )

    def _call(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except (ServerUnavailable, ServerRefused) as error:
            raise BusUnavailable(str(error)) from error

    # What is kept, and one thread that sends it

    def _send_all(self) -> None:
        """Send what is kept, in its order, for as long as the bus is open."""
        pause = _AGAIN[0]
        while not self._outbox.closed:
            group = self._outbox.first(most=_GROUP, bytes_at_most=self.max_body_bytes // 2, wait=timedelta(seconds=60))
            if not group:
                continue
            try:
                self._send(group)
            except (ServerUnavailable, ServerRefused) as error:
                # Refused as a whole: the token is not accepted (any more); whoever mends that finds every answer here.
                _log.warning("server_unavailable", kept=self._outbox.count(), reason=str(error))
                # Several workers that lost the same server do not come back at the same moment.
                if self._client.over.wait(pause * random.uniform(0.5, 1.0)):
                    return
                pause = min(_AGAIN[1], 2 * pause)
                continue
            except Exception:  # noqa: BLE001  a worker whose answers no longer leave would be so in silence
                _log.exception("answers_broke", messages=len(group))
            pause = _AGAIN[0]
            self._outbox.drop(group)

    def _send(self, group: list[Kept]) -> None:
        """Send messages; one by one where the server refuses them together."""
        path = group[0].path
        said = [(kept.token, kept.read()) for kept in group]
        try:
            self._post(path, said)
        except ServerRefused as refused:
            if refused.status in _NOT_PERMITTED:
                raise
            for token, body in said:
                self._send_alone(path, token, body)

    def _send_alone(self, path: str, token: str, body: bytes) -> None:
        """Send one message that was refused among others; in smaller parts, where it was too long."""
        try:
            self._post(path, [(token, body)])
        except ServerRefused as refused:
            if refused.status == 413 and refused.limit and refused.limit < self.max_body_bytes:
                self.max_body_bytes = refused.limit
                self._send_alone(path, token, body)
            elif refused.status in _NOT_PERMITTED:
                raise
            else:
                # The server finds that the records are still owed.
                _log.error("server_refused", path=path, reason=str(refused))

    def _post(self, path: str, said: Sequence[tuple[str, bytes]]) -> None:
        """Send messages, those that are too long in parts."""
        parts = [(token, part) for token, body in said for part in self._parts(body)]
        whole = [list(parts)] if sum(len(part) for _, part in parts) <= self.max_body_bytes else [[p] for p in parts]
        for group in whole:
            body = msgspec.msgpack.encode({"worker_id": self.worker, "messages": group})
            answer = self._client.call("POST", path, body=body, headers={"Content-Type": MESSAGES})
            for receipt in _receipts.decode(answer.content).tasks:
                self._hear(receipt)

    def _hear(self, receipt: Receipt) -> None:
        if receipt.state == "refused":
            _log.error("answer_refused", task=receipt.task_id, problems=receipt.problems)
        elif receipt.state == "cancelled":
            self._cancelled([receipt.task_id])

    def _parts(self, body: bytes) -> Iterable[bytes]:
        """The message itself, or its halves, and theirs, where it is longer than the server takes."""
        if len(body) <= self._room():
            return [body]
        message = decode_from_worker(body)
        if not isinstance(message, Answer):
            return [body]
        return [part for half in _halves(message, limit=self._room()) for part in self._parts(encode_message(half))]

    def _room(self) -> int:
        """Bytes that one message may have: what frames it is taken off."""
        return self.max_body_bytes - 2_000


def _halves(answer: Answer, *, limit: int) -> list[FromWorker]:
    """Two answers in place of one; a record that is too long alone fails, and says so."""
    if len(answer.outcomes) == 1:
        failure = Failure(
            code=FailureCode.OUTPUT_TOO_LARGE,
            message=f"The output has {len(answer.outcomes[0].value)} bytes, the server takes {limit} in one body "
            "(max_body_bytes); answer with a file, which travels as an artifact, instead.",
        )
        failed = structs.replace(answer.outcomes[0], status=Status.FAILED, value=b"", value_digest=b"", failure=failure)
        return [structs.replace(answer, outcomes=[failed])]
    middle = len(answer.outcomes) // 2
    first, second = slice(None, middle), slice(middle, None)
    return [
        structs.replace(
            answer,
            outcomes=answer.outcomes[part],
            keys=answer.keys[part],
            asked=answer.asked[part],
            last=answer.last and part is second,
            # What was spent is counted once.
            seconds=answer.seconds if part is second else 0.0,
            downloads=answer.downloads if part is second else 0,
        )
        for part in (first, second)
    ]
