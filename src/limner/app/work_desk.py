"""Where far workers come for tasks and bring their answers: everything behind the ``tasks:`` calls."""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from msgspec import structs

from limner.app.leases import Leases
from limner.app.work_heard import Heard
from limner.app.work_hello import Admission, Reception
from limner.app.work_open import OpenForm
from limner.app.work_parts import give_part_back
from limner.app.work_room import Room
from limner.app.work_said import BeatAnswer, HelloAnswer, LeaseAsk, LeaseState, Taken, TakenTask, TaskReceipt
from limner.app.work_wire import AnswerIn, LeaseOut, TakeAsk, TaskOut, cut_to
from limner.bus.base import Delivery
from limner.domain.tasks import (
    STOPPING,
    Answer,
    FromWorker,
    Heartbeat,
    Released,
    Task,
    decode_from_worker,
    decode_task,
    encode_message,
)
from limner.domain.workers import HEARTBEAT, Beat, Hello
from limner.errors import NotFound

if TYPE_CHECKING:
    from limner.app.hosting import Host

_log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 10_000_000
_NOT_YOURS = "The lease token is not for this task and worker."


class WorkDesk:
    """Serves the far workers of one project; shared by threads."""

    def __init__(
        self,
        host: "Host",
        *,
        key: bytes | None = None,
        names: Mapping[str, str] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_value_bytes: int = 8_000_000,
    ) -> None:
        """
        *key* makes the lease tokens: with the same one they outlive a restart.

        *names* are other APIs' names of stages, as the reception takes them.
        """
        self.max_body_bytes = max_body_bytes
        self._host = host
        self._store = host.store
        self._leases = Leases(key or os.urandom(32), project=host.name)
        self._reception = Reception(host, names=names or {})
        self._open = OpenForm(host, max_value_bytes=max_value_bytes)
        self._heard = Heard(self._store, clock=host.clock)

    # Who is there

    def hello(self, hello: Hello, *, scopes: frozenset[str], token_id: str | None) -> HelloAnswer:
        """A worker introduces itself, or says anew what it serves."""
        told = self._reception.hello(hello, scopes=scopes, token_id=token_id)
        self._heard.introduced(hello.worker_id)
        _log.info("worker_hello", worker=hello.worker_id, host=hello.hostname, serves=len(hello.serves))
        return HelloAnswer(
            heartbeat_s=HEARTBEAT.total_seconds(),
            lease_s=self._lease.total_seconds(),
            max_body_bytes=self.max_body_bytes,
            server_time=self._host.clock.now(),
            told=told,
        )

    def heartbeat(self, beat: Beat) -> BeatAnswer:
        """
        A worker lives; the leases of what it holds move, and of nothing else.

        Raises:
            NotFound: it never said hello.
        """
        now = self._host.clock.now()
        with self._store.transaction() as tx:
            if not tx.workers.beat(beat, ready=self._reception.addresses(beat.ready), now=now):
                raise _stranger(beat.worker_id)
            self._heard.write(tx, beat.worker_id, now=now)
            worker = tx.workers.get(beat.worker_id)
            found = tx.workers.holding(beat.busy)
        mine = [task for task, standing in found.items() if standing.held_by(beat.worker_id)]
        self._lend(beat.worker_id, mine)
        cancelled = [task for task, standing in found.items() if standing.cancelled]
        return BeatAnswer(cancelled=cancelled, drain=worker is not None and worker.drain)

    # Tasks out

    def admit(self, ask: TakeAsk, *, scopes: frozenset[str]) -> Admission:
        """
        What a worker that asks may be given; done once for a question, however long it waits.

        Raises:
            NotFound: it never said hello.
        """
        with self._store.reading() as tx:
            worker = tx.workers.get(ask.worker_id)
            if worker is None:
                raise _stranger(ask.worker_id)
            admission = self._reception.admit(tx, worker.hello, ask.serves, scopes=scopes)
        self._heard.seen(ask.worker_id)
        return admission

    def take(self, ask: TakeAsk, admission: Admission, *, wait: timedelta) -> Taken:
        """Up to so many tasks that the worker may be given; waits for the first of them, without a transaction."""
        deliveries = self._host.take(list(admission.versions), limit=max(1, ask.max_tasks), wait=wait)
        if not deliveries:
            return Taken(tasks=[])
        try:
            return self._sorted(ask, admission, deliveries)
        except BaseException:
            self._host.give_back(deliveries)
            raise

    def put_back(self, worker: str, taken: Taken) -> None:
        """Have tasks sent again whose worker hung up before it was given them."""
        self._host.commit(
            [Released(worker=worker, task=t.task.id, attempt=t.task.attempt, reason=STOPPING) for t in taken.tasks]
        )

    def open_form(self, taken: Taken, *, base_url: str) -> list[TaskOut]:
        """The tasks as any consumer takes them."""
        return [
            self._open.hand_out(
                one.task,
                lease=LeaseOut(token=one.token, expires_at=taken.expires_at),
                base_url=base_url,
                cut=one.cut,
            )
            for one in taken.tasks
        ]

    # What workers say of them

    def extend(self, worker: str, leases: Sequence[LeaseAsk]) -> list[LeaseState]:
        """Move leases; where each stands."""
        self._heard.seen(worker)
        with self._store.reading() as tx:
            found = tx.workers.holding([lease.task_id for lease in leases])
        mine = {
            lease.task_id
            for lease in leases
            if lease.task_id in found
            and found[lease.task_id].held_by(worker)
            and self._leases.attempt(lease.token, task=lease.task_id, worker=worker) is not None
        }
        expires = self._lend(worker, sorted(mine))
        states = {task: "cancelled" if standing.cancelled else "lost" for task, standing in found.items()}
        states |= dict.fromkeys(mine, "held")
        return [
            LeaseState(
                task_id=lease.task_id,
                state=states.get(lease.task_id, "lost"),
                expires_at=expires if lease.task_id in mine else None,
            )
            for lease in leases
        ]

    def hold(self, said: Sequence[tuple[str, Sequence[int]]]) -> list[list[int]]:
        """
        Move the leases of tasks that workers say they took from the bus themselves; of each, those nobody waits for.

        All that is *said*, by a worker each, is committed together. What somebody else was the last to hold stays his.
        """
        with self._store.reading() as tx:
            found = tx.workers.holding([task for _, tasks in said for task in tasks])
        beats = [
            Heartbeat(
                worker=worker,
                tasks=[task for task in tasks if task in found and (found[task].held_by(worker) or found[task].free)],
            )
            for worker, tasks in said
        ]
        self._host.commit([beat for beat in beats if beat.tasks])
        for worker, _ in said:
            self._heard.seen(worker)
        return [[task for task in tasks if task in found and found[task].cancelled] for _, tasks in said]

    def hear(self, worker: str, messages: Sequence[tuple[str, bytes]]) -> list[TaskReceipt]:
        """Commit messages of Limner's own workers, each with the lease token of its task; answers after the commit."""
        decoded = [(token, decode_from_worker(body)) for token, body in messages]
        said = [(token, one) for token, one in decoded if not isinstance(one, Heartbeat)]
        valid = [
            self._leases.attempt(token, task=one.task, worker=worker) is not None and one.worker == worker
            for token, one in said
        ]
        receipts = iter(self._commit(worker, [one for (_, one), well in zip(said, valid, strict=True) if well]))
        return [
            next(receipts) if well else _refused(one.task, _NOT_YOURS)
            for (_, one), well in zip(said, valid, strict=True)
        ]

    def complete(self, worker: str, answers: Sequence[AnswerIn]) -> list[TaskReceipt]:
        """
        Judge and commit what a worker says in the open form; returns after the commit.

        A record whose value the stage's declaration refuses fails with OUTPUT_INVALID, once; its task is ``refused``,
        with the problems.
        """
        judged = [
            None if attempt is None else self._open.judge(worker, answer, attempt=attempt)
            for answer in answers
            for attempt in [self._leases.attempt(answer.token, task=answer.task_id, worker=worker)]
        ]
        receipts = iter(self._commit(worker, [one.answer for one in judged if one is not None]))
        return [
            _refused(answer.task_id, _NOT_YOURS) if one is None else _with(next(receipts), one.problems)
            for answer, one in zip(answers, judged, strict=True)
        ]

    def release(self, worker: str, leases: Sequence[LeaseAsk], *, reason: str) -> int:
        """Take tasks, or some of their records, back unharmed: no attempt is charged; how many leases were valid."""
        attempts = [self._leases.attempt(lease.token, task=lease.task_id, worker=worker) for lease in leases]
        valid = [(lease, attempt) for lease, attempt in zip(leases, attempts, strict=True) if attempt is not None]
        whole: list[FromWorker] = [
            Released(worker=worker, task=lease.task_id, attempt=attempt, reason=STOPPING)
            for lease, attempt in valid
            if lease.keys is None or not self._gives_part(lease.task_id, lease.keys)
        ]
        # Empty or not: what was given back in part is sent by the same turn of the engine.
        self._host.commit(whole)
        self._heard.seen(worker)
        _log.info("tasks_released", worker=worker, tasks=len(valid), reason=reason[:200])
        return len(valid)

    # What stands behind it

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._host.app.settings.lease)

    def _lend(self, worker: str, tasks: Sequence[int]) -> float:
        """Move the leases of tasks that *worker* holds; until when."""
        if tasks:
            self._host.commit([Heartbeat(worker=worker, tasks=list(tasks))])
        return self._host.clock.now() + self._lease.total_seconds()

    def _sorted(self, ask: TakeAsk, admission: Admission, deliveries: Sequence[Delivery]) -> Taken:
        """Sort out what was taken from the bus, and lease what is to be handed out."""
        room = Room(ask)
        chosen: list[TakenTask] = []
        back: list[Delivery] = []
        gone: list[FromWorker] = []
        for delivery in deliveries:
            task = decode_task(delivery.body)
            if task.version not in admission.versions[delivery.topic]:
                gone.append(Released(worker=ask.worker_id, task=task.id, attempt=task.attempt, reason=STOPPING))
                continue
            count = room.fit(task, sizes=self._open.sizes(task) if ask.max_bytes is not None else {})
            if not count:
                back.append(delivery)
                continue
            chosen.append(self._taken(ask.worker_id, delivery, task, count=count))
        self._host.give_back(back)
        if gone:
            self._host.commit(gone)
        expires = self._lend(ask.worker_id, [one.task.id for one in chosen])
        with self._store.reading() as tx:
            found = tx.workers.holding([one.task.id for one in chosen])
        self._host.settle([delivery for delivery in deliveries if delivery not in back])
        # What was cancelled while it waited on the bus is handed to nobody.
        held = [one for one in chosen if one.task.id in found and found[one.task.id].held_by(ask.worker_id)]
        return Taken(tasks=held, expires_at=expires)

    def _taken(self, worker: str, delivery: Delivery, task: Task, *, count: int) -> TakenTask:
        cut = count < len(task.keys)
        part = cut_to(task, count) if cut else task
        return TakenTask(
            topic=delivery.topic,
            task=part,
            body=encode_message(part) if cut else delivery.body,
            token=self._leases.token(task=task.id, attempt=task.attempt, worker=worker),
            cut=cut,
        )

    def _gives_part(self, task: int, keys: Sequence[str]) -> bool:
        with self._store.transaction() as tx:
            return give_part_back(tx, task, keys, now=self._host.clock.now())

    def _commit(self, worker: str, messages: Sequence[FromWorker]) -> list[TaskReceipt]:
        """Commit *messages*; a receipt for each, in their order."""
        if not messages:
            return []
        receipts = iter(self._host.commit(messages))
        self._heard.answers(worker, messages)
        found = []
        for message in messages:
            if isinstance(message, Answer):
                one = next(receipts)
                found.append(TaskReceipt(task_id=one.task, state=one.state, open=one.open, problems=one.problems))
            elif isinstance(message, Released):
                found.append(TaskReceipt(task_id=message.task, state="released", open=0, problems=[]))
        return found


def _refused(task: int, problem: str) -> TaskReceipt:
    return TaskReceipt(task_id=task, state="refused", open=0, problems=[problem])


def _with(receipt: TaskReceipt, problems: list[str]) -> TaskReceipt:
    """*receipt*, refused where there are problems."""
    if not problems:
        return receipt
    return structs.replace(receipt, state="refused", problems=[*receipt.problems, *problems])


def _stranger(worker: str) -> NotFound:
    return NotFound(f"No worker {worker} is known here; say hello first: POST /api/v1/workers:hello")
