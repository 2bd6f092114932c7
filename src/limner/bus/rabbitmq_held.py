"""What was delivered and not acknowledged yet, by its own name, so that it survives a lost connection."""

from collections import OrderedDict
from collections.abc import Callable

import pika
from msgspec import Struct

from limner.bus.base import Delivery

#: Names of messages that were acknowledged while their connection was gone.
_REMEMBERED = 10_000


class Held(Struct, eq=False):
    """One message in our hands."""

    delivery: Delivery
    channel: pika.channel.Channel
    #: The channel's own number of it.
    number: int
    #: Told when it is let go, so that the consumer which brought it may bring another one.
    freed: Callable[[int], None]

    def acknowledge(self) -> None:
        """Have the broker forget it."""
        if self.channel.is_open:
            self.channel.basic_ack(self.number)
        self.freed(self.number)

    def give_back(self) -> None:
        """Have the broker give it to somebody else, before what waits."""
        if self.channel.is_open:
            self.channel.basic_nack(self.number, requeue=True)
        self.freed(self.number)


class Hands:
    """
    What is held; used on the loop alone.

    A message that is held while its connection is lost comes again, perhaps to us: it is not handed out twice then, and
    what was acknowledged meanwhile is acknowledged when it comes.
    """

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._done: OrderedDict[str, None] = OrderedDict()

    def take(self, held: Held) -> bool:
        """Take a message in that came; whether it is a new one."""
        tag = held.delivery.tag
        if tag in self._done:
            del self._done[tag]
            held.acknowledge()
            return False
        before = self._held.get(tag)
        if before is None:
            return True
        if before.channel.is_open:
            # The same message was published twice, since its first confirmation was lost.
            held.acknowledge()
        else:
            before.channel, before.number, before.freed = held.channel, held.number, held.freed
        return False

    def hand_out(self, held: Held) -> Delivery:
        """Remember that somebody has it."""
        self._held[held.delivery.tag] = held
        return held.delivery

    def acknowledge(self, delivery: Delivery) -> None:
        """Forget a message; one that is not held is passed over."""
        held = self._held.pop(delivery.tag, None)
        if held is None:
            return
        if not held.channel.is_open:
            self._done[delivery.tag] = None
            if len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
        held.acknowledge()

    def give_back(self, delivery: Delivery) -> None:
        """Put a message back; one that is not held is passed over."""
        held = self._held.pop(delivery.tag, None)
        if held is not None:
            held.give_back()
