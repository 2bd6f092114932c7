"""From a URL to a bus; the only file that knows the backends' names."""

from limner.bus.base import Bus
from limner.errors import ConfigurationError


def connect_bus(url: str, *, token: str | None = None, worker: str | None = None) -> Bus:
    """
    The bus behind *url*: ``memory:``, or ``https:`` and ``http:`` for a far worker.

    *token* and *worker*, a far worker's token and name, are of use to it alone; without them they are ``LIMNER_TOKEN``
    (or the file that ``LIMNER_TOKEN_FILE`` names) and the name of this process.

    Raises:
        ConfigurationError: no backend speaks this URL.
    """
    scheme = url.partition(":")[0]
    if scheme == "memory":
        from limner.bus.memory import MemoryBus

        return MemoryBus()
    if scheme in ("http", "https"):
        from limner.bus.http import HttpBus
        from limner.server_client import ServerClient, token_from, worker_name

        return HttpBus(ServerClient(url, token=token_from(token)), worker=worker or worker_name())
    raise ConfigurationError(f"No bus speaks {scheme}: (setting `bus`); known are: memory:, https:, http:")
