"""Taking from a broker: one connection that only takes, and everybody who waits for what comes."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import pika

from limner.bus.base import Delivery
from limner.bus.rabbitmq_held import Hands, Held
from limner.bus.rabbitmq_link import Link, Loop
from limner.bus.rabbitmq_place import Place
from limner.bus.rabbitmq_queues import declare
from limner.bus.rabbitmq_topic import Topic, Wish
from limner.errors import BusUnavailable


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

    def refused(self, topic: Topic, wishes: Sequence[Wish], reason: str) -> None:
        """The broker refuses a topic: tell who waits for it, and whose *wishes* are looked after there."""
        for wish in [*topic.wishes, *wishes]:
            self._fail(wish.done, reason)
            self._withdraw(wish)
        for done in topic.asked:
            self._fail(done, reason)
        topic.asked.clear()

    def close(self, done: Callable[[], None]) -> None:
        """Let those who wait go, and hang up."""
        self._fail_all(f"The bus at {self.place.shown} was closed.")
        self.link.close(done)

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

        topics[0].get(wish, looked)

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
