"""From a URL to a publisher of events; the only file that knows the backends' names."""

from importlib.util import find_spec

from limner.errors import ConfigurationError, MissingExtra
from limner.events.base import Publisher


def connect_events(url: str) -> Publisher:
    """
    The publisher behind *url*, ``amqp:`` or ``amqps:``; it connects when it is first used.

    Raises:
        ConfigurationError: no backend speaks this URL, or it cannot be understood.
    """
    scheme = url.partition(":")[0]
    if scheme not in ("amqp", "amqps"):
        raise ConfigurationError(f"No events go by {scheme}: (setting `events`); known are: amqp:, amqps:")
    if find_spec("pika") is None:
        raise MissingExtra(extra="rabbitmq", needs="Publishing events (setting `events`)")
    from limner.events.rabbitmq import RabbitPublisher

    return RabbitPublisher(url)
