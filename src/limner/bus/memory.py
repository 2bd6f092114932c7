"""Bus in this process; loses everything at exit; the store re-sends."""

import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import timedelta
from itertools import count

from limner.bus.base import Bus, Delivery


class MemoryBus(Bus):
    """Queues in memory that many threads share."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, deque[Delivery]] = defaultdict(deque)
        self._held: dict[str, Delivery] = {}
        self._tags = count(1)
        self._changed = threading.Condition()

    def publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        """Append *bodies* to *topic* and wake those who wait for it."""
        with self._changed:
            for body in bodies:
                self._waiting[topic].append(Delivery(topic=topic, tag=str(next(self._tags)), body=body))
            self._changed.notify_all()

    def take(self, topics: Sequence[str], *, limit: int, wait: timedelta = timedelta()) -> list[Delivery]:
        """Take what waits in *topics*, each in turn, oldest first within a topic."""
        with self._changed:
            self._changed.wait_for(lambda: any(self._waiting[topic] for topic in topics), wait.total_seconds())
            taken: list[Delivery] = []
            for topic in topics:
                while self._waiting[topic] and len(taken) < limit:
                    taken.append(self._waiting[topic].popleft())
            self._held.update((delivery.tag, delivery) for delivery in taken)
            return taken

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Forget the messages."""
        with self._changed:
            for delivery in deliveries:
                self._held.pop(delivery.tag, None)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Put the messages back at the front of their topics, in their order."""
        with self._changed:
            for delivery in reversed(deliveries):
                if self._held.pop(delivery.tag, None):
                    self._waiting[delivery.topic].appendleft(delivery)
            self._changed.notify_all()

    def count(self, topic: str) -> int:
        """How many messages of *topic* nobody holds."""
        with self._changed:
            return len(self._waiting[topic])
