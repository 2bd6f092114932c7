"""The bus in memory keeps the contract of every bus."""

import pytest

from limner.bus.base import Bus
from limner.bus.connect import connect_bus
from limner.bus.memory import MemoryBus
from limner.errors import ConfigurationError
from limner.testing.bus_contract import BusContract


class TestMemory(BusContract):
    """The contract over memory."""

    @pytest.fixture
    def bus(self) -> Bus:
        """An empty bus."""
        return MemoryBus()


def test_the_url_leads_to_it() -> None:
    """`memory:` is a bus; what no backend speaks is refused with the setting's name."""
    assert isinstance(connect_bus("memory:"), MemoryBus)
    with pytest.raises(ConfigurationError, match="`bus`"):
        connect_bus("carrier-pigeon://loft")
