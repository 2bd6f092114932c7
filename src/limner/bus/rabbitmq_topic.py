"""One topic as it is taken from a broker: its channel, a consumer while somebody waits, and nothing held for nobody."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Protocol
from uuid import uuid4

import pika

from limner.bus.base import Delivery
from limner.bus.rabbitmq_held import Hands, Held
from limner.bus.rabbitmq_link import Loop
from limner.bus.rabbitmq_place import Place
from limner.bus.rabbitmq_queues import declare

#: Messages of a topic that come ahead at most.
_PREFETCH = 64
#: A consumer for whom nobody waits any more is kept so long, in seconds: who asks often, asks again at once.
_LINGER = 1.0


class Wish:
    """Somebody wants up to *limit* messages of some topics."""

    def __init__(self, topics: Sequence[str], *, limit: int, done: "Future[list[Delivery]]") -> None:
        self.topics = topics
        self.limit = limit
        self.done = done
        self.timer: object | None = None


class Taker(Protocol):
    """Whose topic it is: it owns the connection, and knows everybody who waits."""

    loop: Loop
    place: Place
    hands: Hands
    connection: pika.SelectConnection | None

    def fulfil(self, wish: Wish, found: Sequence[Held]) -> None:
        """Give *found* to who wished, and be done with the wish."""

    def refused(self, topic: "Topic", wishes: Sequence[Wish], reason: str) -> None:
        """The broker refuses a topic: tell who waits for it, and whose *wishes* are looked after there."""


class Consumer:
    """One subscription, with so many messages at a time that nobody has acknowledged."""

    def __init__(self, prefetch: int) -> None:
        self.prefetch = prefetch
        self.out: set[int] = set()
        self.tag = ""

    @property
    def full(self) -> bool:
        """Whether it brings nothing more before something is acknowledged."""
        return len(self.out) >= self.prefetch


class Topic:
    """One queue as it is consumed here."""

    def __init__(self, taker: Taker, name: str, *, declares: bool) -> None:
        self.name = name
        self.buffer: deque[Held] = deque()
        self.wishes: list[Wish] = []
        self._taker = taker
        self._declares = declares
        self._channel: pika.channel.Channel | None = None
        self._open = False
        self._consumer: Consumer | None = None
        self._serving = False
        self._linger: object | None = None
        #: When somebody last waited, on the monotonic clock.
        self._wished = 0.0
        #: Who asks for the count.
        self.asked: list[Future[int]] = []
        #: What waits for the channel, and questions for what is there now, one at a time: whose, and who is told.
        self._parked: list[Callable[[pika.channel.Channel], None]] = []
        self._gets: deque[tuple[Wish, list[Held], Callable[[list[Held]], None]]] = deque()

    # Its channel

    def when_open(self, call: Callable[[pika.channel.Channel], None]) -> None:
        """Call with the channel once there is one and the queue is there."""
        if self._open and self._channel is not None:
            call(self._channel)
            return
        self._parked.append(call)
        if self._channel is None and self._taker.connection is not None:
            self._channel = self._taker.connection.channel(on_open_callback=self._opened)

    def lose(self) -> None:
        """Its connection is gone: what was here and not handed out comes again."""
        self._channel, self._open, self._consumer = None, False, None
        self.buffer.clear()
        gets, self._gets = self._gets, deque()
        for _, found, call in gets:
            # What was got is the broker's again.
            found.clear()
            call([])

    def _opened(self, channel: pika.channel.Channel) -> None:
        channel.add_on_close_callback(self._closed)
        channel.add_on_cancel_callback(self._cancelled)
        channel.add_callback(self._on_empty, [pika.spec.Basic.GetEmpty], one_shot=False)
        if self._declares:
            declare(channel, self._taker.place, self.name, done=lambda _: self._ready(channel))
        else:
            self._ready(channel)

    def _ready(self, channel: pika.channel.Channel) -> None:
        self._open = True
        parked, self._parked = self._parked, []
        for call in parked:
            call(channel)
        self.pump()

    def _closed(self, channel: pika.channel.Channel, reason: Exception) -> None:
        """The broker closed the channel alone: a right is missing, or a message was held too long."""
        if channel is not self._channel or self._taker.connection is None or not self._taker.connection.is_open:
            return
        gets, self._gets = self._gets, deque()
        self.lose()
        self._parked.clear()
        told = f"{self._taker.place.shown} refuses {self._taker.place.queue(self.name)}: {reason}"
        self._taker.refused(self, [wish for wish, _, _ in gets], told)

    def _cancelled(self, _: pika.frame.Method) -> None:
        """The queue was deleted: make it again."""
        if self._channel is not None and self._channel.is_open:
            self._channel.close()
        self.lose()
        self.pump()

    # What comes

    def reopen(self) -> None:
        """There is a connection again: go on with what waits for one."""
        if self._parked or self._gets or self.wishes:
            self.when_open(_nothing_with)

    def pump(self) -> None:
        """See that as much comes as is waited for."""
        if not self.wishes:
            if self._consumer is not None and self._linger is None:
                self._linger = self._taker.loop.later(_LINGER, self._lingered)
            return
        if self._channel is None or not self._open:
            self.when_open(_nothing_with)
            return
        self._wished = monotonic()
        if self._consumer is None or self._consumer.full:
            self._stop(give_back=False)
            self._consume(self._channel, Consumer(min(_PREFETCH, sum(wish.limit for wish in self.wishes))))

    def serve(self) -> None:
        """Hand out what came to those who wait, in their order."""
        self._serving = False
        while self.buffer and self.wishes:
            wish = self.wishes[0]
            self._taker.fulfil(wish, self.some(wish.limit))
        self.pump()

    def some(self, limit: int) -> list[Held]:
        """Up to so many of what came, taken out."""
        return [self.buffer.popleft() for _ in range(min(limit, len(self.buffer)))]

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Put messages back at the front, before what came ahead."""
        self._stop(give_back=False)
        for delivery in deliveries:
            self._taker.hands.give_back(delivery)
        while self.buffer:
            self.buffer.popleft().give_back()
        self.pump()

    def get(self, wish: Wish, call: Callable[[list[Held]], None]) -> None:
        """Ask for what is there now, one by one; *call* is given it, perhaps nothing."""
        self._gets.append((wish, [], call))
        if len(self._gets) == 1:
            self.when_open(self._get)

    def _get(self, channel: pika.channel.Channel) -> None:
        if self._gets and channel.is_open:
            channel.basic_get(self._taker.place.queue(self.name), self._on_get)

    def _on_get(
        self,
        channel: pika.channel.Channel,
        method: pika.spec.Basic.GetOk,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        held = self._held(channel, method.delivery_tag, properties, body, freed=_nothing)
        wish, found, _ = self._gets[0]
        if self._taker.hands.take(held):
            found.append(held)
        if len(found) >= wish.limit:
            self._got()
        else:
            self._get(channel)

    def _on_empty(self, _: pika.frame.Method) -> None:
        if self._gets:
            self._got()

    def _got(self) -> None:
        wish, found, call = self._gets.popleft()
        found += self.some(wish.limit - len(found))
        call(found)
        if self._gets:
            self.when_open(self._get)

    def _consume(self, channel: pika.channel.Channel, consumer: Consumer) -> None:
        def come(
            channel: pika.channel.Channel,
            method: pika.spec.Basic.Deliver,
            properties: pika.BasicProperties,
            body: bytes,
        ) -> None:
            held = self._held(channel, method.delivery_tag, properties, body, freed=consumer.out.discard)
            if self._consumer is not consumer:
                held.give_back()
                return
            consumer.out.add(method.delivery_tag)
            if self._taker.hands.take(held):
                self.buffer.append(held)
            if not self._serving:
                # What came in the same packet is handed out together.
                self._serving = True
                self._taker.loop.do(self.serve)

        self._consumer = consumer
        channel.basic_qos(prefetch_count=consumer.prefetch)
        consumer.tag = channel.basic_consume(self._taker.place.queue(self.name), come)

    def _held(
        self,
        channel: pika.channel.Channel,
        number: int,
        properties: pika.BasicProperties,
        body: bytes,
        *,
        freed: Callable[[int], None],
    ) -> Held:
        # A message that somebody else published may have no name.
        tag = properties.message_id or uuid4().hex
        return Held(Delivery(topic=self.name, tag=tag, body=body), channel, number, freed)

    def _lingered(self) -> None:
        self._linger = None
        if self.wishes:
            return
        if monotonic() - self._wished < _LINGER:
            self.pump()
        else:
            self._stop(give_back=True)

    def _stop(self, *, give_back: bool) -> None:
        """End the subscription; pika gives back what is still on its way."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None and consumer.tag and self._channel is not None and self._channel.is_open:
            self._channel.basic_cancel(consumer.tag, callback=_ignore)
        while give_back and self.buffer:
            self.buffer.popleft().give_back()


def _nothing(_: int) -> None:
    return


def _nothing_with(_: pika.channel.Channel) -> None:
    return


def _ignore(_: pika.frame.Method) -> None:
    return
