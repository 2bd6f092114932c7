"""Taking from a broker: one channel a topic, a consumer while somebody waits, and nothing held for nobody."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from uuid import uuid4

import pika

from limner.bus.base import Delivery
from limner.bus.rabbitmq_held import Hands, Held
from limner.bus.rabbitmq_link import Link, Loop
from limner.bus.rabbitmq_place import Place
from limner.bus.rabbitmq_queues import declare
from limner.errors import BusUnavailable

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

    def __init__(self, takes: "Takes", name: str, *, declares: bool) -> None:
        self.name = name
        self.buffer: deque[Held] = deque()
        self.wishes: list[Wish] = []
        self._takes = takes
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
        #: What waits for the channel, and questions for single messages, one at a time: ``limit`` and who asked.
        self._parked: list[Callable[[pika.channel.Channel], None]] = []
        self._gets: deque[tuple[int, list[Held], Callable[[list[Held]], None]]] = deque()

    # Its channel

    def when_open(self, call: Callable[[pika.channel.Channel], None]) -> None:
        """Call with the channel once there is one and the queue is there."""
        if self._open and self._channel is not None:
            call(self._channel)
            return
        self._parked.append(call)
        if self._channel is None and self._takes.connection is not None:
            self._channel = self._takes.connection.channel(on_open_callback=self._opened)

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
            declare(channel, self._takes.place, self.name, done=lambda _: self._ready(channel))
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
        if channel is not self._channel or self._takes.connection is None or not self._takes.connection.is_open:
            return
        self.lose()
        self._parked.clear()
        self._takes.refused(self, f"{self._takes.place.shown} refuses {self._takes.place.queue(self.name)}: {reason}")

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
                self._linger = self._takes.loop.later(_LINGER, self._lingered)
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
            self._takes.fulfil(wish, self.some(wish.limit))
        self.pump()

    def some(self, limit: int) -> list[Held]:
        """Up to so many of what came, taken out."""
        return [self.buffer.popleft() for _ in range(min(limit, len(self.buffer)))]

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Put messages back at the front, before what came ahead."""
        self._stop(give_back=False)
        for delivery in deliveries:
            self._takes.hands.give_back(delivery)
        while self.buffer:
            self.buffer.popleft().give_back()
        self.pump()

    def get(self, limit: int, call: Callable[[list[Held]], None]) -> None:
        """Ask for what is there now, one by one; *call* is given it, perhaps nothing."""
        self._gets.append((limit, [], call))
        if len(self._gets) == 1:
            self.when_open(self._get)

    def _get(self, channel: pika.channel.Channel) -> None:
        if self._gets and channel.is_open:
            channel.basic_get(self._takes.place.queue(self.name), self._on_get)

    def _on_get(
        self,
        channel: pika.channel.Channel,
        method: pika.spec.Basic.GetOk,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        held = self._held(channel, method.delivery_tag, properties, body, freed=_nothing)
        limit, found, _ = self._gets[0]
        if self._takes.hands.take(held):
            found.append(held)
        if len(found) >= limit:
            self._got()
        else:
            self._get(channel)

    def _on_empty(self, _: pika.frame.Method) -> None:
        if self._gets:
            self._got()

    def _got(self) -> None:
        limit, found, call = self._gets.popleft()
        found += self.some(limit - len(found))
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
            if self._takes.hands.take(held):
                self.buffer.append(held)
            if not self._serving:
                # What came in the same packet is handed out together.
                self._serving = True
                self._takes.loop.do(self.serve)

        self._consumer = consumer
        channel.basic_qos(prefetch_count=consumer.prefetch)
        consumer.tag = channel.basic_consume(self._takes.place.queue(self.name), come)

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


class Takes:
    """One connection that only takes, and everybody who waits; all on the loop."""

    def __init__(self, loop: Loop, place: Place, *, declares: Callable[[str], bool]) -> None:
        self.loop = loop
        self.place = place
        self.hands = Hands()
        self.link = Link(loop, place, opened=self._opened, lost=self._lost, failed=self._failed)
        self.connection: pika.SelectConnection | None = None
        self._declares = declares
        self._topics: dict[str, Topic] = {}
        #: Everything that waits, to be told where there is no connection to be had.
        self._waiting: set[Future[list[Delivery]] | Future[int]] = set()

    def take(self, wish: Wish, *, wait: float) -> None:
        """Fulfil *wish*, at once or within *wait* seconds."""
        if not self._well(wish.done):
            return
        topics = [self._topic(name) for name in wish.topics]
        found: list[Held] = []
        for topic in topics:
            found += topic.some(wish.limit - len(found))
        if found:
            self.fulfil(wish, found)
        elif wait <= 0:
            self._waiting.add(wish.done)
            self._look(wish, topics)
        else:
            self._waiting.add(wish.done)
            wish.timer = self.loop.later(wait, lambda: self.fulfil(wish, []))
            for topic in topics:
                topic.wishes.append(wish)
            for topic in topics:
                topic.pump()

    def count(self, name: str, done: "Future[int]") -> None:
        """Say how many messages of a topic nobody holds."""
        if not self._well(done):
            return
        self._waiting.add(done)
        topic = self._topic(name)
        topic.asked.append(done)

        def counted(count: int) -> None:
            self._waiting.discard(done)
            topic.asked.remove(done)
            if not done.done():
                done.set_result(count + len(topic.buffer))

        def ask(channel: pika.channel.Channel) -> None:
            declare(channel, self.place, name, done=counted, passive=not self._declares(name))

        topic.when_open(ask)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Forget messages."""
        for delivery in deliveries:
            self.hands.acknowledge(delivery)
        for name in {delivery.topic for delivery in deliveries}:
            self._topic(name).pump()

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Put messages back, in their order."""
        for name in dict.fromkeys(delivery.topic for delivery in deliveries):
            self._topic(name).give_back([delivery for delivery in deliveries if delivery.topic == name])

    def fulfil(self, wish: Wish, found: Sequence[Held]) -> None:
        """Give *found* to who wished, and be done with the wish."""
        self._waiting.discard(wish.done)
        self._withdraw(wish)
        if not wish.done.done() and wish.done.set_running_or_notify_cancel():
            wish.done.set_result([self.hands.hand_out(held) for held in found])
        else:
            for held in found:
                held.give_back()

    def refused(self, topic: Topic, reason: str) -> None:
        """The broker refuses a topic: tell who waits for it."""
        for wish in list(topic.wishes):
            self._fail(wish.done, reason)
            self._withdraw(wish)
        for done in topic.asked:
            self._fail(done, reason)
        topic.asked.clear()

    def _look(self, wish: Wish, topics: Sequence[Topic]) -> None:
        """Look into one topic after the other, until something is found."""
        if not topics:
            self.fulfil(wish, [])
            return

        def looked(found: list[Held]) -> None:
            if found:
                self.fulfil(wish, found)
            elif not wish.done.done():
                self._look(wish, topics[1:])

        topics[0].get(wish.limit, looked)

    def _withdraw(self, wish: Wish) -> None:
        if wish.timer is not None:
            self.loop.never(wish.timer)
            wish.timer = None
        for name in wish.topics:
            topic = self._topic(name)
            if wish in topic.wishes:
                topic.wishes.remove(wish)
                topic.pump()

    def _topic(self, name: str) -> Topic:
        if name not in self._topics:
            self._topics[name] = Topic(self, name, declares=self._declares(name))
        return self._topics[name]

    def _well(self, done: "Future[list[Delivery]] | Future[int]") -> bool:
        """Whether it is worth to wait for *done*; who waits for it is told where not."""
        if self.link.away:
            self._fail(done, self.link.away)
        return not self.link.away

    def _fail(self, done: "Future[list[Delivery]] | Future[int]", reason: str) -> None:
        self._waiting.discard(done)
        if not done.done():
            done.set_exception(BusUnavailable(reason))

    def _opened(self, connection: pika.SelectConnection) -> None:
        self.connection = connection
        for topic in self._topics.values():
            topic.reopen()

    def _lost(self) -> None:
        self.connection = None
        for topic in self._topics.values():
            topic.lose()

    def close(self, done: Callable[[], None]) -> None:
        """Let those who wait go, and hang up."""
        self._fail_all(f"The bus at {self.place.shown} was closed.")
        self.link.close(done)

    def _failed(self, reason: str) -> None:
        # An alarm stops those who publish; there is a connection still.
        if self.connection is None:
            self._fail_all(reason)

    def _fail_all(self, reason: str) -> None:
        for done in list(self._waiting):
            self._fail(done, reason)
        for topic in self._topics.values():
            topic.asked.clear()
            for wish in list(topic.wishes):
                self._withdraw(wish)


def _nothing(_: int) -> None:
    return


def _nothing_with(_: pika.channel.Channel) -> None:
    return


def _ignore(_: pika.frame.Method) -> None:
    return
