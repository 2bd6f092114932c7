"""The bus over RabbitMQ keeps the contract of every bus, and survives its broker."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from limner.bus.base import Bus
from limner.bus.connect import connect_bus
from limner.testing.bus_contract import BusContract


@pytest.fixture
def url(require_service: Callable[[str], str]) -> str:
    """The broker, and queues of the test's own there."""
    return f"{require_service('rabbitmq')}?prefix=test-{uuid4().hex[:12]}"


class TestRabbitMQ(BusContract):
    """The contract over a broker."""

    @pytest.fixture
    def bus(self, url: str) -> Iterator[Bus]:
        """An empty bus."""
        made = connect_bus(url)
        yield made
        made.close()
