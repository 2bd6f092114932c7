"""From a URL to a bus; the only file that knows the backends' names."""

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from limner.bus.base import Bus
from limner.bus.kafka_place import place_of as kafka_place
from limner.domain.workers import Told
from limner.errors import ConfigurationError, MissingExtra
from limner.server_client import Server, ServerClient, token_from, worker_name

#: Schemes of buses that are servers of their own.
_BROKERS = ("amqp", "amqps", "kafka")
_AMQP = {"amqps": 5671, "amqp": 5672}


def connect_bus(url: str, *, password: str | None = None, far: bool = False) -> Bus:
    """
    The bus behind *url*: ``memory:``, ``amqp:`` and ``amqps:``, ``kafka:``, or ``https:`` and ``http:`` for a far
    worker.

    *password* is that of a broker's URL which names a user alone; *far*: as a worker uses it, whose user may write
    letters and answers and make no queues. A far worker's token is ``LIMNER_TOKEN``, or stands in the file that
    ``LIMNER_TOKEN_FILE`` names.

    Raises:
        ConfigurationError: no backend speaks this URL.
    """
    scheme = url.partition(":")[0]
    if scheme == "memory":
        from limner.bus.memory import MemoryBus

        return MemoryBus()
    if scheme in ("http", "https"):
        from limner.bus.http import HttpBus

        return HttpBus(ServerClient(url, token=token_from(None)), worker=worker_name())
    if is_broker(url):
        return _broker(url, password=password, far=far)[0]
    raise ConfigurationError(
        f"No bus speaks {scheme}: (setting `bus`); known are: memory:, amqp:, amqps:, kafka:, https:, http:"
    )


def is_broker(url: str) -> bool:
    """Whether *url* names a server of its own between workers and servers of Limner."""
    return url.partition(":")[0] in _BROKERS


def places_of(url: str) -> list[tuple[str, int]]:
    """
    Hosts and ports of the broker behind *url*.

    Raises:
        ConfigurationError: it cannot be understood.
    """
    if url.startswith("kafka:"):
        servers = kafka_place(url).cluster.servers.split(",")
        return [(host, int(port)) for host, _, port in (server.rpartition(":") for server in servers)]
    try:
        parts = urlsplit(url)
        return [(parts.hostname or "localhost", parts.port or _AMQP[parts.scheme])]
    except ValueError as error:
        raise ConfigurationError(f"{url.partition(':')[0]}: is followed by no address: {error}") from error


def bus_of_project(url: str, project: str) -> str:
    """The bus of *project* where that of the project `default` is at *url*: its messages do not mix with others."""
    if not is_broker(url):
        return url
    return f"{url}{'&' if '?' in url else '?'}project={project}"


def connect_server(url: str, *, token: str | None, worker: str) -> Server:
    """
    The server of the far *worker*: at *url* itself, or behind the broker there, whose password may be the *token*.

    Raises:
        ConfigurationError: the URL cannot be one.
    """
    if not is_broker(url):
        return ServerClient(url, token=token)
    from limner.bus.mail_client import MailClient

    bus, shown = _broker(url, password=token, far=True)
    return MailClient(bus, worker=worker, shown=shown)


def connect_far_bus(
    client: Server,
    *,
    worker: str,
    serves: Callable[[], Sequence[tuple[str, str]]],
    max_body_bytes: int,
    max_bytes: int | None,
    max_records: Callable[[str], int | None],
    cancelled: Callable[[list[int]], None],
    told: Callable[[Sequence[Told]], None],
) -> Bus:
    """
    The bus of the far *worker* that said hello over *client*; see :class:`limner.bus.http.HttpBus`.

    *serves* says stage and implementation of what the worker serves by now.
    """
    from limner.bus.http import HttpBus
    from limner.bus.mail import MailBus
    from limner.bus.mail_client import MailClient

    if isinstance(client, MailClient):
        return MailBus(client, worker=worker, serves=serves, cancelled=cancelled, told=told)
    if not isinstance(client, ServerClient):
        raise ConfigurationError(f"No bus leads to {client.url}.")

    return HttpBus(
        client,
        worker=worker,
        max_body_bytes=max_body_bytes,
        max_bytes=max_bytes,
        max_records=max_records,
        cancelled=cancelled,
        told=told,
    )


def _broker(url: str, *, password: str | None = None, far: bool = False) -> tuple[Bus, str]:
    """The bus of a broker, and its address without the password."""
    way = _kafka if url.startswith("kafka:") else _rabbitmq
    return way(url, password=password, far=far)


def _kafka(url: str, *, password: str | None, far: bool) -> tuple[Bus, str]:
    try:
        from limner.bus.kafka import KafkaBus
    except ModuleNotFoundError as error:
        raise MissingExtra(extra="kafka", needs="The bus kafka:") from error
    place = kafka_place(url, password=password)
    return KafkaBus(place, far=far), place.shown


def _rabbitmq(url: str, *, password: str | None, far: bool) -> tuple[Bus, str]:
    try:
        from limner.bus.rabbitmq import RabbitBus
        from limner.bus.rabbitmq_place import place_of
    except ModuleNotFoundError as error:
        raise MissingExtra(extra="rabbitmq", needs=f"The bus {url.partition(':')[0]}:") from error
    place = place_of(url, password=password)
    return RabbitBus(place, far=far), place.shown
