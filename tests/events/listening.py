"""A program that subscribes to events, as any other would."""

import json
from datetime import timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pika

from tests.waiting import LONG


class Listener:
    """A queue of its own, bound to some topics of an exchange; entered, it hears what is published from then on."""

    def __init__(self, url: str, *, topics: str = "#", durable: str = "") -> None:
        """*durable* names a queue that outlives a restart of the broker."""
        parts = urlsplit(url)
        self._parameters = pika.URLParameters(parts._replace(query="").geturl())
        self._exchange = parse_qs(parts.query)["exchange"][0]
        self._topics = topics
        self._queue = durable
        #: What was heard, oldest first, with the topics by which it came.
        self.heard: list[dict[str, Any]] = []
        self.topics: list[str] = []
        self.properties: list[pika.BasicProperties] = []

    def __enter__(self) -> Self:
        self._connection = pika.BlockingConnection(self._parameters)
        self._channel = self._connection.channel()
        self._channel.exchange_declare(self._exchange, "topic", durable=True)
        made = self._channel.queue_declare(self._queue, durable=bool(self._queue), exclusive=not self._queue)
        self._queue = made.method.queue
        self._channel.queue_bind(self._queue, self._exchange, self._topics)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection.is_open:
            self._connection.close()

    def hear(self, count: int, *, within: timedelta = LONG) -> list[dict[str, Any]]:
        """Everything heard so far, once it is *count* events; fails where fewer come."""
        for method, properties, body in (
            self._channel.consume(self._queue, inactivity_timeout=within.total_seconds())
            if len(self.heard) < count
            else ()
        ):
            assert method is not None, f"only {len(self.heard)} of {count} events came: {self.topics}"
            self.heard.append(json.loads(body))
            self.topics.append(method.routing_key)
            self.properties.append(properties)
            self._channel.basic_ack(method.delivery_tag)
            if len(self.heard) >= count:
                break
        self._channel.cancel()
        return self.heard

    def rest(self) -> list[dict[str, Any]]:
        """Everything heard, what lies in the queue now included."""
        while True:
            method, _, body = self._channel.basic_get(self._queue, auto_ack=True)
            if method is None:
                return self.heard
            self.heard.append(json.loads(body))
            self.topics.append(method.routing_key)

    def bound(self, queue: str) -> bool:
        """Whether somebody consumes from *queue*."""
        try:
            found = self._connection.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return bool(found.method.consumer_count)

    def forget(self, queue: str) -> None:
        """Delete somebody else's queue."""
        self._channel.queue_delete(queue)
