"""The bus over Kafka keeps the contract of every bus, shares its work, and survives its broker."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from limner.bus.base import Bus, Delivery
from limner.bus.connect import bus_of_project, connect_bus
from limner.bus.kafka_place import place_of
from limner.domain.tasks import ANSWERS
from limner.errors import BusUnavailable, ConfigurationError
from limner.testing.bus_contract import BusContract, bodies, take_all
from tests.waiting import until
from tools.services import KafkaBroker, free_port

TASKS = "moths.classify/onnx"


@pytest.fixture
def url(require_service: Callable[[str], str]) -> str:
    """The broker, and topics of the test's own there."""
    return f"{require_service('kafka')}?prefix=test-{uuid4().hex[:12]}"


class TestKafka(BusContract):
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

    def test_a_deleted_topic_is_made_again(self, bus: Bus, url: str) -> None:
        """Somebody deletes a topic: what was in it is lost, and what comes after is not."""
        bus.publish("work", [b"1"])
        place = place_of(url)
        admin = AdminClient({"bootstrap.servers": place.cluster.servers})
        admin.delete_topics([place.topic("work")])[place.topic("work")].result(20)

        bus.publish("work", [b"2"])

        assert bodies(take_all(bus, ["work"], count=1)) == [b"2"]

    @pytest.mark.slow
    def test_members_share_the_work(self, url: str) -> None:
        """Two processes that ask for tasks of one topic are both given some, and each task is given once."""
        with ExitStack() as stack:
            one, two = (stack.enter_context(closing(connect_bus(url))) for _ in range(2))
            numbers = count()
            one.publish(TASKS, [b"first"])
            taken: dict[Bus, list[bytes]] = {one: bodies(take_all(one, [TASKS], count=1)), two: []}

            def take_turns() -> bool:
                one.publish(TASKS, [b"%d" % next(numbers)])
                for member, found in taken.items():
                    found += bodies(member.take([TASKS], limit=1, wait=timedelta(seconds=0.1)))
                return len(taken[one]) >= 5 and len(taken[two]) >= 5

            until(take_turns)
            until(lambda: _empty(taken, TASKS))

        both = taken[one] + taken[two]
        assert len(both) == len(set(both))

    @pytest.mark.slow
    def test_what_a_busy_member_does_not_ask_for_goes_to_others(self, url: str) -> None:
        """A process that has not asked for some seconds leaves its partitions, whatever lies in them, to who asks."""
        with closing(connect_bus(url)) as busy, closing(connect_bus(url)) as other:
            busy.publish(TASKS, [b"0"])
            assert bodies(take_all(busy, [TASKS], count=1)) == [b"0"]
            busy.publish(TASKS, [b"%d" % number for number in range(1, 25)])

            assert len(take_all(other, [TASKS], count=24, limit=5)) == 24

    @pytest.mark.timed
    def test_a_server_takes_the_place_of_a_killed_one_at_once(self, bus: Bus, url: str) -> None:
        """Answers are read on long before the session of the one that was killed is over."""
        program = (
            "import sys\nfrom datetime import timedelta\nfrom limner.bus.connect import connect_bus\n"
            "bus = connect_bus(sys.argv[1])\nwhile True:\n"
            "    found = bus.take(['answers'], limit=1, wait=timedelta(seconds=1))\n"
            "    print(*[one.body.decode() for one in found], flush=True) if found else None\n"
        )
        bus.publish(ANSWERS, [b"first"])
        with subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True) as killed:
            assert killed.stdout is not None
            assert killed.stdout.readline() == "first\n"
            killed.kill()
        bus.publish(ANSWERS, [b"second"])

        began = time.monotonic()

        assert bodies(take_all(bus, [ANSWERS], count=1)) == [b"second"]
        assert time.monotonic() - began < 3.0

    def test_a_reader_whose_place_was_taken_has_it_again(self, bus: Bus, url: str) -> None:
        """Whoever leads and waits is pushed out where another one takes its place, and reads on when that one goes."""
        # given one who waits for answers, and another one who does so too, for a moment
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(bus.take, [ANSWERS], limit=1, wait=timedelta(seconds=60))
            until(lambda: bus.count(ANSWERS) == 0 and _members(url))
            with closing(connect_bus(url)) as other:
                other.take([ANSWERS], limit=1, wait=timedelta(seconds=5))

            # when there is an answer
            bus.publish(ANSWERS, [b"answer"])

            # then the first one has it
            assert bodies(waiting.result()) == [b"answer"]

    @pytest.mark.timed
    def test_what_lies_here_holds_up_nothing_that_comes(self, url: str) -> None:
        """Messages that come one by one while others lie in this process are fetched without a rest."""
        with closing(connect_bus(f"{url}&partitions=1")) as bus:
            bus.publish(TASKS, [b"1", b"2"])
            take_all(bus, [TASKS], count=1)
            began = time.monotonic()
            for _ in range(8):
                bus.publish(TASKS, [b"more"])
                take_all(bus, [TASKS], count=1)

            assert time.monotonic() - began < 3.0


def _empty(taken: dict[Bus, list[bytes]], topic: str) -> bool:
    """Take what is left; whether that was nothing, and nothing is counted."""
    more: list[Delivery] = []
    for member, found in taken.items():
        more = member.take([topic], limit=100, wait=timedelta(seconds=0.1))
        found += bodies(more)
    return not more and next(iter(taken)).count(topic) == 0


def _members(url: str) -> int:
    """How many read the answers."""
    place = place_of(url)
    admin = AdminClient({"bootstrap.servers": place.cluster.servers})
    group = place.group(ANSWERS)
    return len(admin.describe_consumer_groups([group])[group].result(20).members)


def test_topics_have_names_that_kafka_allows() -> None:
    """Names say project, stage and implementation, and cannot be mistaken for one another."""
    place = place_of("kafka://broker.example.org")
    ours = place_of(bus_of_project("kafka://one.example.org:9093,two.example.org", "moths"))

    assert place.topic("answers") == "limner.answers"
    assert place.topic(TASKS) == "limner.tasks.moths.classify.onnx"
    assert place.topic("moths.classify/a.b_c") == "limner.tasks.moths.classify.a_2Eb_5Fc"
    assert place.topic("replies/host-1") == "limner.replies.host-1"
    assert ours.topic("answers") == "limner-moths.answers"
    assert ours.cluster.servers == "one.example.org:9093,two.example.org:9092"
    assert (place.partitions_of("answers"), place.partitions_of(TASKS)) == (1, 12)


def test_an_address_says_how_to_come_in() -> None:
    """A user and a password mean an encrypted line, and librdkafka's own names are passed on."""
    place = place_of("kafka://team@host/?partitions=3&replication=2&ssl.ca.location=/etc/ca.pem", password="a b")

    assert place.cluster.options["security.protocol"] == "SASL_SSL"
    assert (place.cluster.options["sasl.username"], place.cluster.options["sasl.password"]) == ("team", "a b")
    assert place.cluster.options["ssl.ca.location"] == "/etc/ca.pem"
    assert (place.partitions, place.replication) == (3, 2)
    assert place.shown == "kafka://team@host:9092"


@pytest.mark.parametrize("url", ["kafka://", "kafka://team:secret@host?partitions=0", "kafka://team:secret@host?odd=1"])
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    """The sentence says what to write, and nothing secret."""
    with pytest.raises(ConfigurationError, match="kafka://user:password@host") as refused:
        connect_bus(url)

    assert "secret" not in str(refused.value)


@pytest.mark.slow
def test_a_broker_that_is_not_there_is_unavailable() -> None:
    """Nothing listens: whoever asks is told, and which broker it is."""
    with closing(connect_bus(f"kafka://127.0.0.1:{free_port()}")) as bus:
        with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1"):
            bus.publish("work", [b"1"])
        with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1"):
            bus.take(["work"], limit=1, wait=timedelta(seconds=5))
        assert bus.trouble() is not None


@pytest.mark.slow
def test_a_killed_broker_has_lost_nothing(require_service: Callable[[str], str], tmp_path: Path) -> None:
    """Killed and started again with messages waiting: it says that it is away, comes back, and each is there once."""
    require_service("kafka")
    broker = KafkaBroker(tmp_path)
    broker.start()
    try:
        with closing(connect_bus(broker.url)) as bus:
            bus.publish("work", [b"1", b"2", b"3"])
            (held,) = take_all(bus, ["work"], count=1)

            broker.kill()
            until(lambda: bus.trouble() is not None)
            broker.start()
            until(lambda: bus.trouble() is None)
            bus.publish("work", [b"4"])
            bus.release([held])

            assert bodies(take_all(bus, ["work"], count=4)) == [b"1", b"2", b"3", b"4"]
    finally:
        broker.kill()
