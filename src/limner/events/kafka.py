"""Events to Kafka: a topic for each collection, by the record's own key, each confirmed."""

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from urllib.parse import unquote

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from limner.errors import ConfigurationError, EventsUnavailable
from limner.events.base import Message, Publisher
from limner.events.cloud_events import CONTENT_TYPE, MOST_BYTES
from limner.kafka_address import cluster_of, name_of

PREFIX = "limner.events"
_PARTITIONS = 6
#: Seconds for the cluster to answer, and to confirm what was published together.
_ANSWER, _CONFIRM = 10.0, 30.0


class KafkaPublisher(Publisher):
    """
    Publishes to the topics ``limner.events.PROJECT.COLLECTION`` (``?prefix=`` names another beginning).

    A topic is made where it is missing, with ``?partitions=`` and ``?replication=``; a record's events lie in one
    partition.

    Raises:
        ConfigurationError: *url* is no address of a cluster.
    """

    def __init__(self, url: str) -> None:
        try:
            cluster = cluster_of(url, parameters=("prefix", "partitions", "replication"))
            self._partitions = cluster.number("partitions", _PARTITIONS)
            self._replication = cluster.number("replication", 1) if "replication" in cluster.own else -1
        except ValueError as error:
            raise ConfigurationError(
                f"The setting `events` is no address of Kafka: {error}; write kafka://user:password@host:9092."
            ) from error
        self._shown = cluster.shown
        self._prefix = cluster.own.get("prefix", PREFIX)
        common: dict[str, str | int | float | bool] = {"bootstrap.servers": cluster.servers, "log_level": 2}
        common |= cluster.options
        self._admin = AdminClient(common, error_cb=_pass_over)
        self._producer = Producer(
            {
                **common,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "message.timeout.ms": int(_CONFIRM * 1000),
                "message.max.bytes": 2 * MOST_BYTES,
                "topic.metadata.propagation.max.ms": 3_000,
            },
            error_cb=_pass_over,
        )
        self._made: set[str] = set()

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish *messages* until each is confirmed; with none, see whether the cluster is there."""
        if not messages:
            self._look()
            return
        open_, refused = set(range(len(messages))), list[KafkaError]()

        def heard(number: int, error: KafkaError | None, _message: object) -> None:
            open_.discard(number)
            if error is not None:
                refused.append(error)

        for number, message in enumerate(messages):
            self._send(message, partial(heard, number))
        self._producer.flush(_CONFIRM + 1)
        if refused:
            # Perhaps somebody deleted a topic: the next try makes it again.
            self._made.clear()
            raise self._unavailable(refused[0].str())
        if open_:
            self._producer.purge()
            raise self._unavailable(f"it has not answered for {_CONFIRM:g} s")

    def _send(self, message: Message, heard: "partial[None]") -> None:
        headers: list[tuple[str, str | bytes | None]] = [("content-type", CONTENT_TYPE), ("topic", message.topic)]
        topic = self._topic(message)
        while True:
            try:
                self._producer.produce(
                    topic, value=message.body, key=message.key.encode(), headers=headers, on_delivery=heard
                )
            except BufferError:
                # Its queue is full: room comes with the next confirmations.
                self._producer.poll(1)
            except KafkaException as error:
                raise self._unavailable(error.args[0].str()) from error
            else:
                return

    def rest(self, pause: timedelta) -> None:
        """Do nothing: librdkafka keeps its connections by itself."""
        # The pace of whoever follows, nothing more.
        time.sleep(pause.total_seconds())

    def close(self) -> None:
        """Let go; nothing is open, since each call waited for its confirmations."""
        self._producer.flush(1)

    def _topic(self, message: Message) -> str:
        """The topic of a message's collection, made where it is missing."""
        project, collection, _ = message.topic.split(".", 2)
        name = f"{self._prefix}.{name_of(unquote(project))}.{name_of(unquote(collection))}"
        if name not in self._made:
            wanted = NewTopic(name, num_partitions=self._partitions, replication_factor=self._replication)
            try:
                self._admin.create_topics([wanted], request_timeout=_ANSWER)[name].result(2 * _ANSWER)
                # Otherwise the producer would not know of it for a while.
                self._producer.list_topics(name, timeout=_ANSWER)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._unavailable(error.args[0].str()) from error
            except TimeoutError as error:
                raise self._unavailable(f"it has not answered for {_ANSWER:g} s") from error
            self._made.add(name)
        return name

    def _look(self) -> None:
        try:
            self._admin.list_topics(timeout=_ANSWER)
        except KafkaException as error:
            raise self._unavailable(error.args[0].str()) from error

    def _unavailable(self, reason: str) -> EventsUnavailable:
        return EventsUnavailable(f"The broker of events, {self._shown}, does not take them: {reason}.")


def _pass_over(_error: KafkaError) -> None:
    """What is wrong is said where somebody waits for it."""
