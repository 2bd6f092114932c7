"""One topic of a worker: takes its tasks, has their files fetched ahead, and hands them to slots that do them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from datetime import timedelta

import msgspec
import structlog
from msgspec import Struct

from limner.bus.base import Bus, Delivery
from limner.domain.tasks import STOPPING, decode_task
from limner.errors import BusUnavailable
from limner.worker.fetch import Fetcher
from limner.worker.prepared import Prepared
from limner.worker.report import Report
from limner.worker.slot import Slot

_log = structlog.get_logger(__name__)

#: A slot that is not the topic's first ends when it had nothing to do for so long, in seconds.
_IDLE = 60.0
#: First and longest wait before a bus that could not be reached is asked again, in seconds.
_AGAIN = (0.1, 5.0)
#: Seconds that a thread is waited for once what it did was ended.
_LAST = 10.0
#: Tasks whose times are remembered.
_PACES = 100


class Held(Struct, frozen=True, kw_only=True):
    """A task that the worker holds."""

    prepared: Prepared
    report: Report


class Service:
    """
    Threads that serve one topic: one takes tasks, and one for each slot does them.

    One task is taken ahead while the slots are busy. A second slot, up to *parallel*, is opened only when a task is at
    hand and no slot is free.
    """

    def __init__(
        self,
        topic: str,
        *,
        bus: Bus,
        fetcher: Fetcher,
        new_slot: Callable[[], Slot],
        new_report: Callable[[Prepared], Report],
        parallel: int,
        wait: timedelta,
    ) -> None:
        self._topic = topic
        self._bus = bus
        self._fetcher = fetcher
        self._new_slot = new_slot
        self._new_report = new_report
        self._parallel = parallel
        self._wait = wait
        self._changed = threading.Condition()
        self._waiting: deque[Held] = deque()
        self._busy: set[int] = set()
        self._held: dict[int, Held] = {}
        self._slots: dict[Slot, threading.Thread] = {}
        self._stopping = threading.Event()
        self._intake = threading.Thread(target=self._take, name=f"take {topic}", daemon=True)
        #: Set: take no more, and go on with what is in hand.
        self._full = threading.Event()
        #: When it last had a task, on the monotonic clock.
        self.last_busy = time.monotonic()
        #: Records that were answered, and whether the last task could be run at all.
        self.done = 0
        self.ready = True
        #: Records and seconds of the last tasks that were done.
        self.paces: deque[tuple[int, float]] = deque(maxlen=_PACES)

    def start(self) -> None:
        """Begin to take tasks."""
        self._intake.start()

    def held(self) -> list[Held]:
        """The tasks that it holds now."""
        with self._changed:
            return list(self._held.values())

    def slots(self) -> int:
        """How many slots are open."""
        with self._changed:
            return len(self._slots)

    def take_no_more(self) -> None:
        """Go on with what is in hand, and take nothing more."""
        with self._changed:
            self._full.set()
            self._changed.notify_all()

    def drop(self, tasks: Collection[int]) -> None:
        """Say nothing more of *tasks*, which nobody waits for; one at work ends with the batch in hand."""
        for held in self.held():
            if held.prepared.task.id in tasks:
                held.report.cancel()
                _log.info("task_cancelled", task=held.prepared.task.id, topic=self._topic)

    def stop(self) -> None:
        """Take no more, and have each slot end with the batch in hand."""
        with self._changed:
            self._stopping.set()
            for slot in self._slots:
                slot.stopping.set()
            self._changed.notify_all()

    def join(self, *, ends: float) -> None:
        """Wait for the slots until *ends* on the monotonic clock, then end what they do; nothing is held after."""
        with self._changed:
            slots = dict(self._slots)
        for thread in slots.values():
            thread.join(max(0.0, ends - time.monotonic()))
        for slot, thread in slots.items():
            if thread.is_alive():
                slot.kill()
        # Bounded, and the threads are daemons: whatever one of them hangs on, a process that was told to stop stops.
        for thread in (self._intake, *slots.values()):
            thread.join(_LAST)
            if thread.is_alive():
                _log.error("thread_left_behind", thread=thread.name)
        while self._waiting:
            held = self._waiting.popleft()
            held.report.release(STOPPING)
            self._let_go(held)

    def _take(self) -> None:
        """Take tasks for as long as there is room for one ahead."""
        pause, longest = _AGAIN
        while self._room():
            try:
                deliveries = self._bus.take([self._topic], limit=1, wait=self._wait)
                for delivery in deliveries:
                    self._prepare(delivery)
                pause = _AGAIN[0]
                continue
            except BusUnavailable as error:
                _log.warning("bus_unavailable", topic=self._topic, reason=str(error))
            except Exception:  # noqa: BLE001  a topic that is no longer served would be so in silence
                _log.exception("take_broke", topic=self._topic)
            self._stopping.wait(pause)
            pause = min(longest, 2 * pause)

    def _room(self) -> bool:
        """Wait until no task waits for a slot; False when the service is stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or self._full.is_set() or not self._waiting)
            return not (self._stopping.is_set() or self._full.is_set())

    def _prepare(self, delivery: Delivery) -> None:
        """Start to fetch a task's files, and put it where slots find it."""
        try:
            task = decode_task(delivery.body)
        except msgspec.DecodeError as error:
            # Whoever sent it will find that it is still owed; a message that nobody can read must not come back.
            _log.error("task_unreadable", topic=self._topic, reason=str(error))
            self._bus.acknowledge([delivery])
            return
        prepared = Prepared(task, delivery=delivery, fetcher=self._fetcher)
        held = Held(prepared=prepared, report=self._new_report(prepared))
        with self._changed:
            self._held[id(held)] = held
            self._waiting.append(held)
            self.last_busy = time.monotonic()
            if len(self._busy) + len(self._waiting) > len(self._slots) < self._parallel and not self._stopping.is_set():
                self._open_slot()
            self._changed.notify_all()

    def _open_slot(self) -> None:
        """One more thread that does tasks; its child process begins and ends with it."""
        slot = self._new_slot()
        thread = threading.Thread(target=self._serve, args=(slot,), name=f"slot {self._topic}", daemon=True)
        self._slots[slot] = thread
        thread.start()

    def _serve(self, slot: Slot) -> None:
        """Do task after task."""
        try:
            while (held := self._next(slot)) is not None:
                began = time.monotonic()
                try:
                    slot.work(held.prepared, report=held.report)
                finally:
                    self._count(held, seconds=time.monotonic() - began)
                    self._let_go(held)
                    with self._changed:
                        self._busy.discard(id(slot))
        except Exception:  # noqa: BLE001  only a bus that breaks in an unknown way gets here
            _log.exception("slot_broke", topic=self._topic)
        finally:
            with self._changed:
                self._slots.pop(slot, None)
            slot.close()

    def _next(self, slot: Slot) -> Held | None:
        """The next task; None when the slot is to end: stopping, or idle beside another one."""
        with self._changed:
            while not self._stopping.is_set():
                if self._waiting:
                    self._busy.add(id(slot))
                    self._changed.notify_all()
                    return self._waiting.popleft()
                in_time = self._changed.wait_for(lambda: self._stopping.is_set() or self._waiting, timeout=_IDLE)
                if not in_time and len(self._slots) > 1:
                    # Taken out here, under the lock, so that no task counts on a slot that has gone.
                    self._slots.pop(slot)
                    return None
            return None

    def _count(self, held: Held, *, seconds: float) -> None:
        """Remember how a task went."""
        with self._changed:
            self.done += held.report.answered
            self.ready = held.report.trouble is None
            if held.report.answered:
                self.paces.append((held.report.answered, seconds))

    def _let_go(self, held: Held) -> None:
        """Be done with a task: its answer was sent before."""
        held.prepared.close()
        with self._changed:
            self._held.pop(id(held), None)
            self.last_busy = time.monotonic()
        try:
            self._bus.acknowledge([held.prepared.delivery])
        except BusUnavailable as error:
            # It comes again, to somebody, and is answered again: a repeated answer changes nothing.
            _log.warning("bus_unavailable", topic=self._topic, reason=str(error))
