"""The publisher to RabbitMQ keeps the contract of every publisher."""

import json
from collections.abc import Callable, Iterator

import pika
import pytest

from limner.errors import EventsUnavailable
from limner.events.base import Publisher
from limner.events.connect import connect_events
from limner.testing.events_contract import PublisherContract, messages
from tests.events.listening import Listener


class TestRabbitMQ(PublisherContract):
    """The contract over a broker."""

    @pytest.fixture
    def publisher(self, url: str) -> Iterator[Publisher]:
        """One that is closed after the test."""
        made = connect_events(url)
        yield made
        made.close()

    @pytest.fixture
    def heard(self, listener: Listener) -> Callable[[int], list[tuple[str, bytes]]]:
        """A queue bound to everything."""

        def heard(count: int) -> list[tuple[str, bytes]]:
            events = listener.hear(count)
            return [(topic, json.dumps(event).encode()) for topic, event in zip(listener.topics, events, strict=True)]

        return heard

    def test_an_exchange_of_another_kind_is_said(self, publisher: Publisher, url: str) -> None:
        """What somebody else made under the name is left alone; the sentence says what the broker says of it."""
        plain, _, exchange = url.partition("?exchange=")
        connection = pika.BlockingConnection(pika.URLParameters(plain))
        channel = connection.channel()
        channel.exchange_declare(exchange, "fanout")

        with pytest.raises(EventsUnavailable, match="inequivalent arg"):
            publisher.publish(messages(1))

        channel.exchange_delete(exchange)
        connection.close()
        publisher.publish(messages(1))
