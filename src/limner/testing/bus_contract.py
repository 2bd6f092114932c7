"""
What every bus must do; subclass it and give it a fixture `bus`.

One bus keeps half of it: a far worker's, over HTTP, takes tasks and publishes answers, and fills no topic. Its cases
stand in tests/far/test_http_bus.py, which says what is left out.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from limner.bus.base import Bus, Delivery

#: Longer than any bus needs; a test that waits this long has failed.
_LONG = timedelta(seconds=10)


def take_all(bus: Bus, topics: Sequence[str], *, count: int, limit: int = 100) -> list[Delivery]:
    """Take until *count* messages came, however few a bus hands out at once; all are held after."""
    taken: list[Delivery] = []
    while len(taken) < count:
        more = bus.take(topics, limit=min(limit, count - len(taken)), wait=_LONG)
        assert more, f"only {len(taken)} of {count} messages came"
        taken += more
    return taken


def bodies(deliveries: Sequence[Delivery]) -> list[bytes]:
    """The bodies of *deliveries*."""
    return [delivery.body for delivery in deliveries]


def counted(bus: Bus, topic: str, expected: int) -> int:
    """The count of *topic*, asked for again and again until it is the one expected, or for too long."""
    ends = time.monotonic() + _LONG.total_seconds()
    while (found := bus.count(topic)) != expected and time.monotonic() < ends:
        time.sleep(0.01)
    return found


class BusContract:
    """Tests that run over every backend; *bus* is empty at the start of each."""

    @pytest.fixture
    def bus(self) -> Bus | Iterator[Bus]:
        """The backend to test, empty; a generator closes it."""
        raise NotImplementedError("abstract: a subclass gives the fixture `bus`")

    def test_messages_come_in_order(self, bus: Bus) -> None:
        """Within a topic the oldest message comes first, over several publishes and takes."""
        bus.publish("work", [b"1", b"2"])
        bus.publish("work", [b"3"])

        assert bodies(take_all(bus, ["work"], count=3, limit=2)) == [b"1", b"2", b"3"]

    def test_a_body_is_any_bytes(self, bus: Bus) -> None:
        """Empty, binary and large bodies arrive as they were sent."""
        sent = [b"", bytes(range(256)), b"x" * 900_000]

        bus.publish("work", sent)

        assert bodies(take_all(bus, ["work"], count=3)) == sent

    def test_take_keeps_its_limit(self, bus: Bus) -> None:
        """No more than the limit is handed out; the rest stays for others."""
        bus.publish("work", [b"1", b"2", b"3"])

        assert len(bus.take(["work"], limit=2, wait=_LONG)) <= 2
        assert bus.count("work") >= 1

    def test_an_empty_topic_answers_at_once(self, bus: Bus) -> None:
        """Without a wait a take of nothing is an empty list."""
        assert bus.take(["work"], limit=10) == []
        assert bus.take([], limit=10) == []
        assert bus.count("work") == 0

    def test_a_wait_ends(self, bus: Bus) -> None:
        """A take that waits in vain comes back empty when the time is up."""
        began = time.monotonic()

        assert bus.take(["work"], limit=1, wait=timedelta(seconds=0.1)) == []

        assert 0.05 < time.monotonic() - began < 5

    def test_a_publish_wakes_who_waits(self, bus: Bus) -> None:
        """A take that waits ends with the message, not with its time."""
        found: list[Delivery] = []
        began = threading.Event()

        def wait() -> None:
            began.set()
            found.extend(bus.take(["idle", "work"], limit=1, wait=_LONG))

        waiting = threading.Thread(target=wait)
        waiting.start()
        began.wait()
        start = time.monotonic()
        bus.publish("work", [b"awake"])
        waiting.join()

        assert bodies(found) == [b"awake"]
        assert time.monotonic() - start < _LONG.total_seconds() / 2

    def test_a_held_message_is_not_seen_again(self, bus: Bus) -> None:
        """What somebody holds is neither taken nor counted."""
        bus.publish("work", [b"1"])
        take_all(bus, ["work"], count=1)

        assert bus.take(["work"], limit=1) == []
        assert bus.count("work") == 0

    def test_an_acknowledged_message_is_gone(self, bus: Bus) -> None:
        """What is acknowledged never comes again; to acknowledge or release it once more does nothing."""
        bus.publish("work", [b"1", b"2"])
        first, second = take_all(bus, ["work"], count=2)

        bus.acknowledge([first])
        bus.acknowledge([first])
        bus.release([first])
        bus.acknowledge([second])

        assert bus.take(["work"], limit=10) == []
        assert bus.count("work") == 0

    def test_a_released_message_comes_first(self, bus: Bus) -> None:
        """What is given back stands before what waits, in its old order; to give it back twice does nothing."""
        bus.publish("work", [b"1", b"2", b"3"])
        held = take_all(bus, ["work"], count=2)

        bus.release(held)
        bus.release(held)

        assert bodies(take_all(bus, ["work"], count=3)) == [b"1", b"2", b"3"]
        assert bus.take(["work"], limit=1) == []

    def test_a_release_wakes_who_waits(self, bus: Bus) -> None:
        """A take that waits is given what another one gives back."""
        bus.publish("work", [b"1"])
        held = take_all(bus, ["work"], count=1)
        found: list[Delivery] = []
        waiting = threading.Thread(target=lambda: found.extend(bus.take(["work"], limit=1, wait=_LONG)))

        waiting.start()
        bus.release(held)
        waiting.join()

        assert bodies(found) == [b"1"]

    def test_topics_do_not_mix(self, bus: Bus) -> None:
        """A take gives what it asked for, with the topic's name; odd names are names like others."""
        names = ["catalogue.palette/exact", "catalogue.palette/http", "answers"]
        for name in names:
            bus.publish(name, [name.encode()])

        taken = take_all(bus, names[:2], count=2)

        assert {delivery.topic: delivery.body for delivery in taken} == {name: name.encode() for name in names[:2]}
        assert bus.count("answers") == 1

    def test_count_follows(self, bus: Bus) -> None:
        """The count is of messages that nobody holds."""
        bus.publish("work", [b"1", b"2", b"3"])
        assert bus.count("work") == 3

        held = take_all(bus, ["work"], count=2)
        assert bus.count("work") == 1

        bus.release(held[:1])
        bus.acknowledge(held[1:])
        assert counted(bus, "work", 2) == 2

    def test_many_threads_take_each_message_once(self, bus: Bus) -> None:
        """Messages that are published and taken by several threads at once arrive once each."""
        count, threads = 400, 4
        taken: list[bytes] = []
        lock = threading.Lock()

        def publish(part: int) -> None:
            for number in range(part, count, threads):
                bus.publish("work", [b"%d" % number])

        def take() -> None:
            while True:
                with lock:
                    if len(taken) >= count:
                        return
                found = bus.take(["work"], limit=7, wait=timedelta(seconds=0.05))
                bus.acknowledge(found)
                with lock:
                    taken.extend(bodies(found))

        workers = [threading.Thread(target=publish, args=(part,)) for part in range(threads)]
        workers += [threading.Thread(target=take) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        assert sorted(map(int, taken)) == list(range(count))
        assert bus.count("work") == 0
