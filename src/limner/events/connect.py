"""From a URL to a publisher of events; the only file that knows the backends' names."""

from importlib.util import find_spec

from limner.errors import ConfigurationError, MissingExtra
from limner.events.base import Publisher


def connect_events(url: str) -> Publisher:
    """
    The publisher behind *url*, ``amqp:``, ``amqps:`` or ``kafka:``; it connects when it is first used.

    Raises:
        ConfigurationError: no backend speaks this URL, or it cannot be understood.
    """
    scheme = url.partition(":")[0]
    if scheme == "kafka":
        if find_spec("confluent_kafka") is None:
            raise MissingExtra(extra="kafka", needs="Publishing events (setting `events`)")
        from limner.events.kafka import KafkaPublisher

        return KafkaPublisher(url)
    if scheme not in ("amqp", "amqps"):
        raise ConfigurationError(f"No events go by {scheme}: (setting `events`); known are: amqp:, amqps:, kafka:")
    if find_spec("pika") is None:
        raise MissingExtra(extra="rabbitmq", needs="Publishing events (setting `events`)")
    from limner.events.rabbitmq import RabbitPublisher

    return RabbitPublisher(url)
