"""Publishing to a broker: every message is confirmed, and sent again where its connection was lost before."""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from functools import partial
from uuid import uuid4

import pika

from limner.bus.letters import PROBE, WORKERS
from limner.bus.rabbitmq_link import Link, Loop
from limner.bus.rabbitmq_place import Place
from limner.bus.rabbitmq_queues import declare
from limner.errors import BusUnavailable

#: A key that no queue is bound to: what is sent there is confirmed and forgotten.
_NOWHERE = "limner.nowhere"
#: How often a batch is published again that a queue did not take in, or that found none, and the first pause before.
_TRIES, _PAUSE = 8, 0.05


class Batch:
    """Messages of one topic that are published together; what is confirmed is taken out."""

    def __init__(self, topic: str, bodies: Iterable[bytes], done: "Future[None]") -> None:
        self.topic = topic
        self.messages = {uuid4().hex: body for body in bodies}
        self.done = done
        self.tries = 0

    def fail(self, reason: str) -> None:
        """Tell who waits that it cannot be published now."""
        if not self.done.done():
            self.done.set_exception(BusUnavailable(reason))

    def confirm(self, message: str) -> None:
        """The broker has *message*."""
        self.messages.pop(message, None)
        if not self.messages and not self.done.done():
            self.done.set_result(None)


class Sends:
    """One connection that only publishes, since a broker with an alarm stops reading from those; all on the loop."""

    def __init__(self, loop: Loop, place: Place, *, declares: bool) -> None:
        self._place = place
        self._loop = loop
        self._declares = declares
        self.link = Link(loop, place, opened=self._opened, lost=self._lost, failed=self._failed)
        self._connection: pika.SelectConnection | None = None
        self._channel: pika.channel.Channel | None = None
        self._desk: pika.channel.Channel | None = None
        #: Topics whose queues are known to be there.
        self._known: set[str] = set()
        self._declaring: set[str] = set()
        #: Batches that wait for a connection, and by topic those that wait for their queue.
        self._parked: list[Batch] = []
        self._queueless: dict[str, list[Batch]] = {}
        #: By the channel's own number: what is published and not confirmed.
        self._flying: OrderedDict[int, tuple[Batch, str]] = OrderedDict()
        self._returned: set[str] = set()
        #: Batches that are published again after a pause.
        self._later: list[Batch] = []
        #: Messages that the current channel has published.
        self._number = 0

    def send(self, batch: Batch) -> None:
        """Publish *batch*, now or with the connection that is being opened."""
        if batch.done.cancelled():
            return
        trouble = self.link.blocked or self.link.away
        if trouble:
            batch.fail(trouble)
        elif self._channel is None:
            self._parked.append(batch)
        elif self._declares and batch.topic not in self._known and batch.topic != _NOWHERE:
            self._queueless.setdefault(batch.topic, []).append(batch)
            self._declare()
        else:
            self._publish(self._channel, batch)

    def probe(self, done: "Future[None]") -> None:
        """
        Send something of no consequence: it is confirmed where the broker takes messages in.

        Whoever makes the queues sends it to nowhere; a far worker may write letters and answers alone, so it does that.
        """
        self.send(Batch(_NOWHERE, [b""], done) if self._declares else Batch(WORKERS, [PROBE], done))

    def _publish(self, channel: pika.channel.Channel, batch: Batch) -> None:
        key = _NOWHERE if batch.topic == _NOWHERE else self._place.queue(batch.topic)
        exchange = self._place.exchange if self._place.by_exchange(batch.topic) else ""
        for message, body in list(batch.messages.items()):
            properties = pika.BasicProperties(delivery_mode=2, message_id=message)
            channel.basic_publish(exchange, key, body, properties, mandatory=batch.topic != _NOWHERE)
            self._number += 1
            self._flying[self._number] = (batch, message)

    # Its channels

    def _opened(self, connection: pika.SelectConnection) -> None:
        self._connection = connection
        connection.channel(on_open_callback=self._ready)

    def _ready(self, channel: pika.channel.Channel) -> None:
        self._number = 0
        channel.add_on_return_callback(self._on_return)
        channel.add_on_close_callback(self._on_closed)

        def confirmed(_: pika.frame.Method) -> None:
            self._channel = channel
            parked, self._parked = self._parked, []
            for batch in parked:
                self.send(batch)

        channel.confirm_delivery(self._on_confirm, callback=confirmed)

    def _on_closed(self, channel: pika.channel.Channel, reason: Exception) -> None:
        """The broker closed the channel, since an exchange is missing or a right; what flew is not published."""
        if channel is not self._channel and self._channel is not None:
            return
        self._channel = None
        if self._connection is not None and self._connection.is_open:
            self._fail(self._take_flying(), f"{self._place.shown} refuses it: {reason}")
            self._connection.channel(on_open_callback=self._ready)

    def _lost(self) -> None:
        """Whatever was not confirmed is published again with the next connection."""
        self._connection = self._channel = self._desk = None
        self._parked += self._take_flying()
        for batches in self._queueless.values():
            self._parked += batches
        self._queueless.clear()
        self._known.clear()
        self._declaring.clear()

    def _failed(self, reason: str) -> None:
        """Nothing is published for the time being: tell all who wait."""
        parked, self._parked = self._parked, []
        self._fail([*parked, *self._take_flying()], reason)

    def _take_flying(self) -> list[Batch]:
        batches = list(dict.fromkeys(batch for batch, _ in self._flying.values()))
        self._flying.clear()
        self._returned.clear()
        return [batch for batch in batches if not batch.done.done()]

    def _fail(self, batches: Collection[Batch], reason: str) -> None:
        for batch in batches:
            batch.fail(reason)

    # What the broker says of messages

    def _on_return(self, _: pika.channel.Channel, __: object, properties: pika.BasicProperties, ___: bytes) -> None:
        self._returned.add(properties.message_id or "")

    def _on_confirm(self, frame: pika.frame.Method) -> None:
        last, well = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Ack)
        numbers = [last]
        if frame.method.multiple:
            numbers = [number for number in self._flying if number <= last]
        for number in numbers:
            batch, message = self._flying.pop(number, (None, ""))
            if batch is None:
                continue
            if message in self._returned:
                self._returned.discard(message)
                self._homeless(batch)
            elif well:
                batch.confirm(message)
            else:
                self._refused(batch)

    def _refused(self, batch: Batch) -> None:
        """A queue could not take a message in: it has no leader at the moment, or was made just now by another one."""
        if batch in self._later or batch.done.done():
            return
        batch.tries += 1
        if batch.tries > _TRIES:
            batch.fail(f"{self._place.shown} did not take the message into {self._place.queue(batch.topic)}.")
            return
        self._later.append(batch)
        self._loop.later(_PAUSE * batch.tries, partial(self._again, batch))

    def _again(self, batch: Batch) -> None:
        self._later.remove(batch)
        self.send(batch)

    def _homeless(self, batch: Batch) -> None:
        """No queue was there for a message: make it, where that is ours to do."""
        if batch in self._queueless.get(batch.topic, ()):
            return
        self._known.discard(batch.topic)
        batch.tries += 1
        if self._declares and batch.tries < _TRIES:
            self.send(batch)
        else:
            batch.fail(f"{self._place.shown} has no queue {self._place.queue(batch.topic)}; a server makes it.")

    # Queues

    def _declare(self) -> None:
        """Make the queues that batches wait for, on a channel that may be lost over it."""
        if self._connection is None:
            return
        if self._desk is None:
            self._desk = self._connection.channel(on_open_callback=self._desk_opened)
        elif self._desk.is_open:
            self._declare_on(self._desk)

    def _desk_opened(self, desk: pika.channel.Channel) -> None:
        desk.add_on_close_callback(self._desk_closed)
        self._declare_on(desk)

    def _declare_on(self, desk: pika.channel.Channel) -> None:
        for topic in set(self._queueless) - self._declaring:
            self._declaring.add(topic)
            declare(desk, self._place, topic, done=partial(self._declared, topic))

    def _declared(self, topic: str, _: int) -> None:
        self._declaring.discard(topic)
        self._known.add(topic)
        for batch in self._queueless.pop(topic, []):
            self.send(batch)

    def _desk_closed(self, _: pika.channel.Channel, reason: Exception) -> None:
        self._desk = None
        self._declaring.clear()
        if self._connection is None or not self._connection.is_open:
            return
        waiting, self._queueless = self._queueless, {}
        for topic, batches in waiting.items():
            self._fail(batches, f"{self._place.shown} refuses the queue {self._place.queue(topic)}: {reason}")
