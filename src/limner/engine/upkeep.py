"""Upkeep: leases that ran out, and tasks whose worker was lost with them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from limner.bus.base import Bus
from limner.clock import Clock
from limner.domain.failures import Failure, FailureCode
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.tasks import STOPPING, Answer, Heartbeat, Outcome, Released, Status
from limner.engine.dispatcher import address_of
from limner.engine.groups import group_inputs
from limner.engine.inputs import inputs_of
from limner.engine.scopes import Scope
from limner.errors import BusUnavailable
from limner.store.store import Transaction
from limner.store.tasks import NewTask, StoredTask


class Upkeep:
    """Moves leases and sends lost work again."""

    def __init__(self, *, clock: Clock, lease: timedelta, bus: Bus) -> None:
        self._clock = clock
        self._lease = lease.total_seconds()
        self._bus = bus
        #: When :meth:`expire` was last called; a clock that is behind it was set back.
        self._last = float("inf")

    def heartbeat(self, tx: Transaction, beats: Sequence[Heartbeat]) -> None:
        """Move the leases of the tasks that workers say they hold."""
        for beat in beats:
            tx.tasks.extend(beat.tasks, until=self._clock.now() + self._lease, worker=beat.worker)

    def released(self, tx: Transaction, scopes: Sequence[Scope], given: Sequence[Released]) -> list[Answer]:
        """
        Send again what workers gave back; where one cannot run the task at all, the answers that say so.

        What is said of an earlier attempt takes nothing from whoever holds the task now.
        """
        if not given:
            return []
        held = tx.tasks.load({message.task for message in given})
        given = [m for m in given if m.task in held and held[m.task].attempt == m.attempt]
        tx.tasks.unsend([message.task for message in given if message.reason == STOPPING])
        places = _places(scopes)
        answers = []
        broken = {message.task: message for message in given if message.reason != STOPPING}
        for pk in broken:
            task = held[pk]
            failure = Failure(
                code=FailureCode.MODEL_UNAVAILABLE,
                message=f"The inferrer cannot be loaded: {broken[pk].reason}",
                reason="not loaded",
            )
            if task.node in places:
                answers.append(self._failing(tx, places[task.node], task, failure, worker=broken[pk].worker))
        return answers

    def expire(self, tx: Transaction, scopes: Sequence[Scope]) -> list[Answer]:
        """
        Send again what silent workers held: whole once, then halved; a record alone is charged with an attempt.

        What still waits on the bus is not lost. The answers charge the records that were alone.
        """
        places = _places(scopes)
        answers = []
        now = self._clock.now()
        self._set_right(tx, scopes, now=now)
        expired = [task for task in tx.tasks.expired(now=now) if task.node in places]
        waiting = self._waiting(tx, places, expired, now=now)
        tx.tasks.extend(sorted(waiting), until=now + self._lease, worker="")
        for task in expired:
            if task.pk in waiting:
                continue
            if task.lost == 0:
                self._again(tx, task, task.keys)
            elif len(task.keys) > 1:
                self._again(tx, task, task.keys[: len(task.keys) // 2], task.keys[len(task.keys) // 2 :])
            else:
                failure = Failure(
                    code=FailureCode.WORKER_LOST,
                    message=f"Worker {task.worker} was lost with this record alone in its hands.",
                    reason="worker lost",
                )
                worker = task.worker or "unknown"
                answers.append(self._failing(tx, places[task.node], task, failure, worker=worker))
        return answers

    def _set_right(self, tx: Transaction, scopes: Sequence[Scope], *, now: float) -> None:
        """Have nothing wait longer than it may: whoever set its time may have gone by a clock that was ahead."""
        tx.tasks.shorten(until=now + self._lease)
        if now < self._last:
            waits = [node.stage.retry.longest for scope in scopes for node in scope.view.nodes]
            tx.tasks.bring_forward(until=now + max(waits, default=timedelta()).total_seconds())
        self._last = now

    def _waiting(
        self, tx: Transaction, places: Mapping[int, tuple[Scope, Node]], expired: Sequence[StoredTask], *, now: float
    ) -> set[int]:
        """
        Those of *expired* that may wait on the bus still, as far as can be told.

        Of each topic these are no more than it has messages, and those that were planned last: however much waits
        there, what is older was lost on its way.
        """
        unheld: dict[str, list[int]] = {}
        for task in expired:
            if not task.worker:
                scope, node = places[task.node]
                unheld.setdefault(address_of(scope.view, node), []).append(task.pk)
        found: set[int] = set()
        for topic, mine in unheld.items():
            try:
                messages = self._bus.count(topic)
            except BusUnavailable:
                # Nobody takes from a bus that cannot be reached, and nothing could be sent again.
                found.update(mine)
                continue
            nodes = [pk for pk, (scope, node) in places.items() if address_of(scope.view, node) == topic]
            left = messages - tx.tasks.unheld(nodes, now=now)
            found.update(sorted(mine, reverse=True)[: max(0, left)])
        return found

    def _again(self, tx: Transaction, task: StoredTask, *parts: Sequence[int]) -> None:
        """Replace a lost task by new ones that hold its records."""
        tx.tasks.drop([task.pk])
        new = [
            NewTask(
                node=task.node,
                version=task.version,
                keys=part,
                job=task.job,
                priority=task.priority,
                tried=task.tried,
                lost=task.lost + 1,
            )
            for part in parts
        ]
        tx.tasks.plan(new, now=self._clock.now())

    def _failing(
        self, tx: Transaction, place: tuple[Scope, Node], task: StoredTask, failure: Failure, *, worker: str
    ) -> Answer:
        """An answer in a worker's stead that fails all open records of a task."""
        scope, node = place
        found = (
            group_inputs(tx, scope, node, task.keys)
            if node.stage.kind is StageKind.GATHER
            else inputs_of(tx, scope.view, node, task.keys, fresh=False)
        )
        outcomes = [Outcome(at, Status.FAILED, failure=failure, alone=True) for at in range(len(found.keys))]
        return Answer(
            task=task.pk,
            attempt=task.attempt,
            worker=worker,
            outcomes=outcomes,
            keys=found.keys,
            asked=found.asked,
            started=self._clock.now(),
            seconds=0.0,
        )


def _places(scopes: Sequence[Scope]) -> dict[int, tuple[Scope, Node]]:
    """The scope and node of each node's key."""
    return {node.pk: (scope, node) for scope in scopes for node in scope.view.nodes}
