"""From a URL to a bus; the only file that knows the backends' names."""

from limner.bus.base import Bus
from limner.errors import ConfigurationError


def connect_bus(url: str) -> Bus:
    """
    The bus behind *url*: ``memory:``, or ``https:`` and ``http:`` for a far worker.

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
        from limner.server_client import ServerClient, token_from, worker_name

        return HttpBus(ServerClient(url, token=token_from(None)), worker=worker_name())
    raise ConfigurationError(f"No bus speaks {scheme}: (setting `bus`); known are: memory:, https:, http:")
