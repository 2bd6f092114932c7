"""From a URL to a bus; the only file that knows the backends' names."""

from limner.bus.base import Bus
from limner.errors import ConfigurationError


def connect_bus(url: str) -> Bus:
    """
    The bus behind *url*: ``memory:``.

    Raises:
        ConfigurationError: no backend speaks this URL.
    """
    scheme = url.partition(":")[0]
    if scheme == "memory":
        from limner.bus.memory import MemoryBus

        return MemoryBus()
    raise ConfigurationError(f"No bus speaks {scheme}: (setting `bus`); known are: memory:")
