"""The bus over RabbitMQ keeps the contract of every bus, and survives its broker."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pika
import pytest

from limner.bus.base import Bus
from limner.bus.connect import connect_bus
from limner.bus.rabbitmq_place import place_of
from limner.errors import BusUnavailable, ConfigurationError
from limner.testing.bus_contract import BusContract, bodies, take_all
from tests.waiting import until
from tools.services import Broker, free_port


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

    def test_another_process_takes_what_a_closed_one_held(self, bus: Bus, url: str) -> None:
        """What is held and not acknowledged is the next one's when a bus hangs up."""
        bus.publish("work", [b"1", b"2"])
        with closing(connect_bus(url)) as other:
            (first, _) = take_all(other, ["work"], count=2)
            other.acknowledge([first])

        assert bodies(take_all(bus, ["work"], count=1)) == [b"2"]
        assert bus.take(["work"], limit=1) == []

    def test_a_deleted_queue_is_made_again(self, bus: Bus, url: str) -> None:
        """Somebody deletes a queue: what was in it is lost, and what comes after is not."""
        bus.publish("work", [b"1"])
        plain = pika.BlockingConnection(pika.URLParameters(url.partition("?")[0]))
        plain.channel().queue_delete(place_of(url).queue("work"))
        plain.close()

        bus.publish("work", [b"2"])

        assert bodies(take_all(bus, ["work"], count=1)) == [b"2"]


def test_queues_are_durable_quorum_queues_with_the_names_of_their_topics() -> None:
    """Names say project, stage and implementation, and cannot be mistaken for one another."""
    place = place_of("amqps://team:secret@broker.example.org/site")
    ours = place_of("amqp://broker.example.org/?project=moths")

    assert place.queue("answers") == "limner.answers"
    assert place.queue("antenna.classify/onnx-classifier") == "limner.tasks.antenna.classify.onnx-classifier"
    assert place.queue("antenna.classify/a.b") == "limner.tasks.antenna.classify.a%2Eb"
    assert place.queue("replies/host-1") == "limner.replies.host-1"
    assert ours.queue("answers") == "limner-moths.answers"
    assert place.arguments("answers")["x-queue-type"] == "quorum"
    assert place.shown == "amqps://team@broker.example.org/site"
    assert place.parameters().ssl_options is not None


def test_a_password_comes_apart_from_the_address() -> None:
    """A URL that names a user alone is completed; one with a password keeps its own."""
    assert place_of("amqp://team@host:5673/v", password="a/b").parameters().credentials.password == "a/b"
    assert place_of("amqp://team:own@host/v", password="other").parameters().credentials.password == "own"


def test_a_url_that_is_none_is_refused_without_its_password() -> None:
    """The sentence says what to write, and nothing secret."""
    with pytest.raises(ConfigurationError, match="amqp://user:password@host") as refused:
        connect_bus("amqp://")
    with pytest.raises(ConfigurationError) as odd:
        connect_bus("amqp://team:secret@host/v?heartbeat=often")

    assert "secret" not in f"{refused.value} {odd.value}"


def test_a_broker_that_is_not_there_is_unavailable() -> None:
    """Nothing listens: every verb says so, soon, and names the broker without its password."""
    with closing(connect_bus(f"amqp://team:secret@127.0.0.1:{free_port()}/v")) as bus:
        with pytest.raises(BusUnavailable, match=r"team@127\.0\.0\.1") as away:
            bus.publish("work", [b"1"])
        with pytest.raises(BusUnavailable):
            bus.take(["work"], limit=1, wait=timedelta(seconds=5))
        with pytest.raises(BusUnavailable):
            bus.count("work")

        assert "secret" not in str(away.value)
        assert "cannot be reached" in str(bus.trouble())


def test_a_wrong_password_is_named(url: str) -> None:
    """The broker refuses the user: the sentence says that, and not that it cannot be found."""
    with closing(connect_bus(url.replace("guest:guest", "guest:wrong"))) as bus:
        assert "does not accept the user" in str(bus.trouble())


def test_a_queue_that_is_refused_is_told(url: str) -> None:
    """A queue that the broker refuses fails whoever asks for it, waiting or not; the others are as before."""
    place = place_of(url)
    with closing(pika.BlockingConnection(place.parameters())) as connection, closing(connect_bus(url)) as bus:
        # Somebody made it of another type.
        channel = connection.channel()
        channel.queue_declare(place.queue("work"), durable=True)

        for wait in (timedelta(), timedelta(seconds=30)):
            with pytest.raises(BusUnavailable, match="refuses"):
                bus.take(["work"], limit=1, wait=wait)
        with pytest.raises(BusUnavailable, match="refuses"):
            bus.count("work")

        assert bus.take(["other"], limit=1) == []
        channel.queue_delete(place.queue("work"))


@pytest.fixture
def broker(require_service: Callable[[str], str], tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, to be stopped and filled."""
    require_service("rabbitmq")
    made = Broker(tmp_path)
    made.start()
    yield made
    made.close()


@pytest.mark.slow
def test_a_restarted_broker_has_lost_nothing(broker: Broker) -> None:
    """Restarted with messages waiting and held: it says that it is away, comes back, and each is there once."""
    with closing(connect_bus(broker.url)) as bus:
        bus.publish("work", [b"1", b"2", b"3"])
        acknowledged, kept = take_all(bus, ["work"], count=2)

        broker.stop()
        until(lambda: _away(bus))
        bus.acknowledge([acknowledged])
        broker.start()
        # What takes and what publishes are connections of their own.
        until(lambda: not _away(bus) and bus.trouble() is None)
        bus.publish("work", [b"4"])

        # What is held stays held, and what was acknowledged while the broker was away is gone.
        assert bodies(take_all(bus, ["work"], count=2)) == [b"3", b"4"]
        bus.release([kept])
        assert bodies(take_all(bus, ["work"], count=1)) == [b"2"]
        assert bus.take(["work"], limit=9) == []


@pytest.mark.slow
def test_an_alarm_stops_publishing_and_not_taking(broker: Broker) -> None:
    """Memory is full: publishing says so at once, what is there can be taken, and it ends by itself."""
    with closing(connect_bus(broker.url)) as bus:
        bus.publish("work", [b"1"])
        broker.control("set_vm_memory_high_watermark", "absolute", "1")
        until(lambda: bus.trouble() is not None)

        assert "low on memory" in str(bus.trouble())
        with pytest.raises(BusUnavailable, match="memory"):
            bus.publish("work", [b"2"])
        bus.acknowledge(take_all(bus, ["work"], count=1))

        broker.control("set_vm_memory_high_watermark", "0.9")
        until(lambda: bus.trouble() is None)


def _away(bus: Bus) -> bool:
    try:
        bus.count("work")
    except BusUnavailable:
        return True
    return False
