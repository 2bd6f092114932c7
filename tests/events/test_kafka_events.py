"""Events go to Kafka as they go to RabbitMQ: a topic for each collection, a partition for each record's events."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Message
from confluent_kafka.admin import AdminClient

from limner.errors import ConfigurationError, EventsUnavailable
from limner.events.base import Publisher
from limner.events.connect import connect_events
from limner.kafka_address import cluster_of
from limner.testing.events_contract import PublisherContract
from tests.events.project import Words
from tests.waiting import until
from tools.services import free_port

WORDS = [("a", "moth"), ("b", "bee"), ("c", "")]


@pytest.fixture
def url(require_service: Callable[[str], str]) -> str:
    """The broker, and topics that nobody else uses."""
    return f"{require_service('kafka')}?prefix=test-{uuid4().hex[:12]}&partitions=3"


@pytest.fixture
def words(tmp_path: Path, url: str) -> Iterator[Words]:
    """A project whose changes are told."""
    made = Words(tmp_path / "words", events=url)
    yield made
    made.app.close()


def address(url: str) -> tuple[str, str]:
    """Brokers, and how names of topics begin."""
    cluster = cluster_of(url, parameters=("prefix", "partitions"))
    return cluster.servers, cluster.own["prefix"]


def heard_on(url: str, topic: str, enough: Callable[[list[Message]], bool]) -> list[Message]:
    """The messages of a topic, or of those that match, until there are *enough*, as another program reads them."""
    servers, prefix = address(url)
    group = {"group.id": f"{prefix}-{uuid4().hex}", "auto.offset.reset": "earliest"}
    consumer = Consumer({"bootstrap.servers": servers, "topic.metadata.refresh.interval.ms": 500, **group})
    consumer.subscribe([topic])
    found: list[Message] = []

    def more() -> bool:
        found.extend(message for message in consumer.consume(1000, 0.5) if message.error() is None)
        return enough(found)

    until(more)
    consumer.close()
    return found


def heard(url: str, collection: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[Message]:
    """The events of a collection until there are *enough*."""
    topic = f"{address(url)[1]}.default.{collection}"
    return heard_on(url, topic, lambda messages: enough(events_of(messages)))


def events_of(messages: list[Message]) -> list[dict[str, Any]]:
    """What messages say."""
    return [json.loads(message.value() or b"") for message in messages]


class TestKafka(PublisherContract):
    """The contract of every publisher."""

    @pytest.fixture
    def publisher(self, url: str) -> Iterator[Publisher]:
        """One that is closed after the test."""
        made = connect_events(url)
        yield made
        made.close()

    @pytest.fixture
    def heard(self, url: str) -> Callable[[int], list[tuple[str, bytes]]]:
        """Everything on the topics of the test's own."""

        def heard(count: int) -> list[tuple[str, bytes]]:
            found = heard_on(url, f"^{address(url)[1]}\\.", lambda messages: len(messages) >= count)
            return [(topic_of(one), one.value() or b"") for one in found]

        return heard


def topic_of(message: Message) -> str:
    """The topic that a message's header names."""
    topic = dict(message.headers() or [])["topic"]
    assert isinstance(topic, bytes)
    return topic.decode()


def said(events: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """By record: what the last event says of each stage."""
    return {
        event["subject"]: {one["stage"]: one["status"] for one in event["data"]["results"]}
        for event in events
        if event["type"] == "limner.results.changed"
    }


def test_everything_is_told_on_a_topic_for_each_collection(words: Words, url: str) -> None:
    """The last event of each record says what the store holds; a name's dot is written so that it divides nothing."""
    words.run(WORDS)
    owed = words.owed()
    whole = {
        "a": {"length": "done", "letters": "done"},
        "b": {"length": "done", "letters": "done"},
        "c": {"length": "failed", "letters": "done"},
    }
    messages = heard(url, "my_2Ewords", lambda events: said(events) == whole)
    letters = {row.record.id for row in words.app.records("letters")}
    heard(url, "letters", lambda events: said(events) == {key: {"code": "done"} for key in letters})

    assert owed == 0
    assert {dict(message.headers() or [])["content-type"] for message in messages} == {b"application/cloudevents+json"}


def test_a_records_events_are_in_order(words: Words, url: str) -> None:
    """All events of one record lie in one partition, in order of their commits."""
    words.run(WORDS)
    words.run([("a", "mote"), ("b", "bees"), ("c", "sea")])

    places: dict[str, set[int | None]] = {}
    order: dict[str, list[str]] = {}
    for message in heard(url, "my_2Ewords", lambda events: said(events).get("c", {}).get("length") == "done"):
        event = json.loads(message.value() or b"")
        if "subject" in event:
            places.setdefault(event["subject"], set()).add(message.partition())
            order.setdefault(event["subject"], []).append(event["sequence"])

    assert set(places) >= {"c"}
    assert all(len(place) == 1 for place in places.values())
    assert all(found == sorted(found) for found in order.values())


def test_a_deleted_topic_is_made_again(words: Words, url: str) -> None:
    """Somebody deletes a topic: the events that follow are told."""
    words.run(WORDS)
    servers, prefix = address(url)
    topic = f"{prefix}.default.my_2Ewords"
    admin = AdminClient({"bootstrap.servers": servers})
    admin.delete_topics([topic])[topic].result(20)

    words.run([("a", "mote")])

    def told(events: list[dict[str, Any]]) -> bool:
        return any(e["type"] == "limner.record.changed" and e["data"]["fields"]["text"] == "mote" for e in events)

    assert heard(url, "my_2Ewords", told)


def test_a_broker_that_is_not_there_is_named() -> None:
    """The sentence says which broker, and no password; the address is checked before anything is sent."""
    publisher = connect_events(f"kafka://127.0.0.1:{free_port()}")
    with pytest.raises(EventsUnavailable, match=r"127\.0\.0\.1"):
        publisher.publish([])
    publisher.close()

    with pytest.raises(ConfigurationError, match="kafka://user:password@host") as refused:
        connect_events("kafka://team:secret@host?exchange=x")
    assert "secret" not in str(refused.value)
