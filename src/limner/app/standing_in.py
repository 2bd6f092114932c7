"""The bus as a server's worker of light stages sees it: what far workers see to is left to them."""

import time
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from threading import Event

from limner.bus.base import Bus, Delivery
from limner.domain.workers import BY_BROKER, Liveness
from limner.store.store import Transaction

#: For so long what far workers serve is taken for known, in seconds.
_FRESH = 2.0


class StandIn(Bus):
    """
    Another bus, from which nothing is taken of topics that somebody else serves.

    A far worker that does all stages of a record fetches its file once; the server would fetch it a second time.
    """

    def __init__(self, bus: Bus, *, served: Callable[[], Collection[str]]) -> None:
        """*served* says the topics that others serve now; it is asked every few seconds."""
        self.shared = bus.shared
        self.hold_limit = bus.hold_limit
        self._bus = bus
        self._served = served
        self._known: Collection[str] = ()
        self._asked = float("-inf")
        self._never = Event()

    def publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        """Publish *bodies*."""
        self._bus.publish(topic, bodies)

    def take(self, topics: Sequence[str], *, limit: int, wait: timedelta = timedelta()) -> list[Delivery]:
        """Take of those *topics* that nobody else serves."""
        if time.monotonic() - self._asked >= _FRESH:
            self._known, self._asked = self._served(), time.monotonic()
        mine = [topic for topic in topics if topic not in self._known]
        if not mine:
            self._never.wait(wait.total_seconds())
            return []
        return self._bus.take(mine, limit=limit, wait=wait)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Forget messages."""
        self._bus.acknowledge(deliveries)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Put messages back."""
        self._bus.release(deliveries)

    def count(self, topic: str) -> int:
        """How many messages wait."""
        return self._bus.count(topic)


def served_by_others(tx: Transaction, versions: Collection[str], *, now: float) -> frozenset[str]:
    """
    The topics that live far workers serve, ready, in one of *versions*.

    Those that reach a broker alone are left out: they may name what their user has no right to take.
    """
    live = [
        worker.hello.worker_id
        for worker in tx.workers.listing()
        if worker.liveness(now=now) is Liveness.LIVE and worker.hello.client != BY_BROKER
    ]
    found = tx.workers.served_by(live) if live else []
    return frozenset(one.address for one in found if one.ready and one.version in versions)
