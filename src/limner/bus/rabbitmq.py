"""Bus over RabbitMQ: durable quorum queues, confirmed publishes, and messages that are held until acknowledged."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from datetime import timedelta
from typing import TypeVar

from limner.bus.base import Bus, Delivery
from limner.bus.letters import REPLIES
from limner.bus.rabbitmq_link import Loop
from limner.bus.rabbitmq_place import Place
from limner.bus.rabbitmq_sends import Batch, Sends
from limner.bus.rabbitmq_takes import Takes
from limner.bus.rabbitmq_topic import Wish
from limner.errors import BusUnavailable

#: Seconds that a publish may take to be confirmed: a line may be slow, and the broker writes to several disks.
_CONFIRM = 30.0
#: Seconds that any other answer of the broker may take, and the probe of :meth:`RabbitBus.trouble`.
_ANSWER, _PROBE = 30.0, 5.0
_T = TypeVar("_T")


class RabbitBus(Bus):
    """
    Topics as queues of one broker; shared by any number of threads.

    pika's connections belong to one thread each, while a message is taken, extended and acknowledged by different ones,
    and a connection must be served while inferrers work for minutes. So one thread of this bus owns two connections,
    one that publishes and one that takes, and does for all others what they ask.
    """

    shared = True

    def __init__(self, place: Place, *, far: bool = False) -> None:
        """*far*: a worker that makes no queues but that of its own replies, so that its user needs no right to."""
        self.hold_limit = place.hold_limit
        self._shown = place.shown
        self._loop = Loop("rabbitmq")
        self._sends = Sends(self._loop, place, declares=not far)
        self._takes = Takes(self._loop, place, declares=lambda topic: not far or topic.startswith(f"{REPLIES}/"))
        self._closed = False
        self._loop.do(self._sends.link.open)
        self._loop.do(self._takes.link.open)

    def publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        """Publish *bodies*; the broker has confirmed all of them on return."""
        if bodies:
            self._ask(lambda done: self._sends.send(Batch(topic, bodies, done)), within=_CONFIRM)

    def take(self, topics: Sequence[str], *, limit: int, wait: timedelta = timedelta()) -> list[Delivery]:
        """Take what is there, or what comes first within *wait*."""
        if not topics or limit < 1:
            return []
        seconds = wait.total_seconds()
        names = list(dict.fromkeys(topics))

        def take(done: "Future[list[Delivery]]") -> None:
            self._takes.take(Wish(names, limit=limit, done=done), wait=seconds)

        return self._ask(take, within=seconds + _ANSWER)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Have the broker forget the messages, now or when the connection is back."""
        if deliveries:
            self._loop.do(lambda: self._takes.acknowledge(deliveries))

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give the messages back to the front of their queues."""
        if deliveries:
            self._loop.do(lambda: self._takes.release(deliveries))

    def count(self, topic: str) -> int:
        """How many messages of *topic* the broker has for whoever asks."""
        return self._ask(lambda done: self._takes.count(topic, done), within=_ANSWER)

    def trouble(self) -> str | None:
        """Why the broker cannot be reached, or takes nothing in: it names its alarm, memory or disk."""
        try:
            self._ask(self._sends.probe, within=_PROBE)
        except BusUnavailable as error:
            return str(error)
        return None

    def close(self) -> None:
        """Hang up; messages held go back."""
        if self._closed:
            return
        self._closed = True
        gone: list[Future[None]] = [Future(), Future()]
        self._loop.do(lambda: self._takes.close(lambda: _set(gone[0])))
        self._loop.do(lambda: self._sends.link.close(lambda: _set(gone[1])))
        if not _within(gone, _PROBE):
            self._loop.do(self._takes.link.abandon)
            self._loop.do(self._sends.link.abandon)
            _within(gone, _PROBE)
        self._loop.stop()

    def _ask(self, call: "Callable[[Future[_T]], None]", *, within: float) -> _T:
        """What *call*, which is called on the bus's own thread, has its future say."""
        done: Future[_T] = Future()

        def ask() -> None:
            try:
                call(done)
            except Exception as error:  # noqa: BLE001  pika has many; whoever waits must hear of each
                if not done.done():
                    done.set_exception(BusUnavailable(f"{self._shown}: {error}"))

        if self._closed:
            raise BusUnavailable(f"The bus at {self._shown} was closed.")
        self._loop.do(ask)
        try:
            return done.result(within)
        except TimeoutError as error:
            raise BusUnavailable(f"{self._shown} has not answered for {within:g} s.") from error
        except BusUnavailable as error:
            raise BusUnavailable(str(error)) from error
        finally:
            # Whatever ended the wait, Ctrl-C included: what comes later goes back.
            done.cancel()


def _within(gone: "Sequence[Future[None]]", seconds: float) -> bool:
    """Whether all of *gone* are so within a time."""
    return not wait(gone, seconds).not_done


def _set(done: "Future[None]") -> None:
    if not done.done():
        done.set_result(None)
