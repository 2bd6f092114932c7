"""Makes the queue of a topic on a channel, with the exchange that leads to it."""

from collections.abc import Callable

import pika

from limner.bus.rabbitmq_place import Place


def declare(
    channel: pika.channel.Channel, place: Place, topic: str, *, done: Callable[[int], None], passive: bool = False
) -> None:
    """
    Make the queue of *topic*, unless it is there or *passive*; *done* is told how many messages wait in it.

    Where it is there with other arguments, or may not be made or seen, the broker closes the channel.
    """
    queue = place.queue(topic)

    def made(frame: pika.frame.Method) -> None:
        count = int(frame.method.message_count)
        if place.by_exchange(topic) and not passive:
            channel.exchange_declare(place.exchange, exchange_type="topic", durable=True)
            channel.queue_bind(queue, place.exchange, routing_key=queue, callback=lambda _: done(count))
        else:
            done(count)

    channel.queue_declare(queue, passive=passive, durable=True, arguments=dict(place.arguments(topic)), callback=made)
