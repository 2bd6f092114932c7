"""From a URL to a bus; the only file that knows the backends' names."""

from collections.abc import Callable, Sequence

from limner.bus.base import Bus
from limner.domain.workers import Told
from limner.errors import ConfigurationError, MissingExtra
from limner.server_client import ServerClient, token_from, worker_name


def connect_bus(url: str) -> Bus:
    """
    The bus behind *url*: ``memory:``, ``amqp:`` and ``amqps:``, or ``https:`` and ``http:`` for a far worker.

    A far worker's token is ``LIMNER_TOKEN``, or stands in the file that ``LIMNER_TOKEN_FILE`` names.

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
    if scheme in ("amqp", "amqps"):
        return _rabbitmq(url)
    raise ConfigurationError(
        f"No bus speaks {scheme}: (setting `bus`); known are: memory:, amqp:, amqps:, https:, http:"
    )


def connect_far_bus(
    client: ServerClient,
    *,
    worker: str,
    max_body_bytes: int,
    max_bytes: int | None,
    max_records: Callable[[str], int | None],
    cancelled: Callable[[list[int]], None],
    told: Callable[[Sequence[Told]], None],
) -> Bus:
    """The bus of the far *worker* that said hello over *client*; see :class:`limner.bus.http.HttpBus`."""
    from limner.bus.http import HttpBus

    return HttpBus(
        client,
        worker=worker,
        max_body_bytes=max_body_bytes,
        max_bytes=max_bytes,
        max_records=max_records,
        cancelled=cancelled,
        told=told,
    )


def _rabbitmq(url: str) -> Bus:
    try:
        from limner.bus.rabbitmq import RabbitBus
        from limner.bus.rabbitmq_place import place_of
    except ModuleNotFoundError as error:
        raise MissingExtra(extra="rabbitmq", needs=f"The bus {url.partition(':')[0]}:") from error
    return RabbitBus(place_of(url))
