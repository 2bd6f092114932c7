"""Bus over Kafka: a topic for each stage and implementation, a group of consumers for each topic."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from limner.bus.base import Bus, Delivery
from limner.bus.kafka_place import MAX_MESSAGE, Place
from limner.bus.kafka_reader import Reader
from limner.bus.kafka_topics import ANSWER, Topics
from limner.bus.letters import WORKERS
from limner.domain.tasks import ANSWERS
from limner.errors import BusUnavailable

#: Seconds that a publish may take to be confirmed.
_CONFIRM = 30.0
#: Seconds that what was not confirmed yet is given at the end.
_LAST = 5.0
#: Seconds that a question without a wait is given where this process reads the topic already.
_AT_ONCE = 0.2
#: Milliseconds that a partition rests of which something lies here; by itself a second, in which nothing came of it.
_REST = 50
#: Milliseconds until a silent member's partitions go to others: as few as a cluster allows unless it is told otherwise.
_SESSION = 6_000
#: Topics that only the server which leads reads. Their reader has one name, so that a new one takes the place of one
#: that was killed at once, and not when its session is over.
_LEADERS = (ANSWERS, WORKERS)


class KafkaBus(Bus):
    """
    Topics of one cluster; shared by any number of threads.

    Within a partition the oldest message comes first. A message counts as taken from the moment at which it is handed
    out (:class:`Reader` says why), so nothing is left to acknowledge on the cluster; what is given back comes first
    again in this process, and is published once more where this process does not want it.
    """

    shared = True

    def __init__(self, place: Place, *, far: bool = False) -> None:
        """*far*: a worker that makes no topics but that of its own replies, so that its user needs no right to."""
        self._place = place
        self._common: dict[str, str | int | float | bool] = {
            "bootstrap.servers": place.cluster.servers,
            "topic.metadata.refresh.interval.ms": 10_000,
            # A broker that comes back is noticed soon.
            "reconnect.backoff.max.ms": 1_000,
            # librdkafka writes to standard error what it is asked about anyway.
            "log_level": 2,
            **place.cluster.options,
        }
        self._producer = Producer(
            {
                **self._common,
                "enable.idempotence": True,
                "linger.ms": 1,
                "compression.type": "lz4",
                "message.max.bytes": MAX_MESSAGE,
                "message.timeout.ms": int(_CONFIRM * 1000),
                # A topic that was deleted is noticed after so long.
                "topic.metadata.propagation.max.ms": 3_000,
            },
            # Otherwise they are printed.
            error_cb=_pass_over,
        )
        self._topics = Topics(
            AdminClient(self._common, error_cb=_pass_over), place, common=self._common, declares=not far
        )
        self._changed = threading.Condition()
        self._readers: dict[str, Reader] = {}
        self._turn = 0
        self._closed = False

    def publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        """Append *bodies* to the topic's partitions in turn; the cluster has confirmed all of them on return."""
        if self._closed:
            raise BusUnavailable(f"The bus at {self._place.shown} was closed.")
        self._publish(topic, bodies)

    def _publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        if not bodies:
            return
        refused = self._send(topic, bodies)
        if any(error.code() in _GONE for _, error in refused):
            # Somebody deleted the topic: it is made again, and the producer is to know of it at once.
            self._look_again(topic)
            refused = self._send(topic, [body for body, _ in refused])
        if refused:
            raise BusUnavailable(f"{self._place.shown}: {refused[0][1].str()}")

    def _look_again(self, topic: str) -> None:
        try:
            self._producer.list_topics(self._made(topic), timeout=ANSWER)
        except KafkaException as error:
            raise self._topics.unavailable(error) from error

    def _send(self, topic: str, bodies: Sequence[bytes]) -> list[tuple[bytes, KafkaError]]:
        """Send *bodies*; those that were not confirmed, and why."""
        partitions, name = self._topics.partitions(topic), self._place.topic(topic)
        open_, refused = list(range(len(bodies))), list[tuple[bytes, KafkaError]]()

        def heard(number: int, error: KafkaError | None, _message: object) -> None:
            open_.remove(number)
            if error is not None:
                refused.append((bodies[number], error))

        for number, body in enumerate(bodies):
            self._turn += 1
            self._produce(name, body, self._turn % partitions, partial(heard, number))
        self._producer.flush(_CONFIRM + 1)
        late = KafkaError(KafkaError._MSG_TIMED_OUT)
        return refused + [(bodies[number], late) for number in open_]

    def _produce(
        self, name: str, body: bytes, partition: int, heard: Callable[[KafkaError | None, object], None]
    ) -> None:
        try:
            self._producer.produce(name, value=body, partition=partition, on_delivery=heard)
        except BufferError:
            # Its queue is full: room comes with the next confirmations.
            self._producer.flush(_CONFIRM)
            self._producer.produce(name, value=body, partition=partition, on_delivery=heard)
        except KafkaException as error:
            heard(error.args[0], None)

    def take(self, topics: Sequence[str], *, limit: int, wait: timedelta = timedelta()) -> list[Delivery]:
        """Take what is there, or what comes first within *wait*."""
        names = list(dict.fromkeys(topics))
        if not names or limit < 1:
            return []
        with self._changed:
            readers = [self._reader(name) for name in names]
            patience = max(wait.total_seconds(), _AT_ONCE if any(reader.joined for reader in readers) else 0.0)
            ends = time.monotonic() + patience
            found = _handed_out(readers, limit)
            if not found:
                found = self._wait(readers, limit, ends)
        if not found and not all(reader.joined and not reader.trouble for reader in readers):
            self._raise_unless_well(readers)
        return found

    def _wait(self, readers: Sequence[Reader], limit: int, ends: float) -> list[Delivery]:
        """What comes first until *ends*; the lock is held."""
        for reader in readers:
            reader.want(limit)
        try:
            while not (found := _handed_out(readers, limit)):
                left = ends - time.monotonic()
                if left <= 0 or self._closed:
                    break
                self._changed.wait(left)
            return found
        finally:
            for reader in readers:
                reader.want(-limit)

    def _raise_unless_well(self, readers: Sequence[Reader]) -> None:
        """Nothing came, and not every reader is at its topic: the cluster may be away, or only slow."""
        trouble = self._topics.trouble()
        if trouble is not None:
            raise BusUnavailable(trouble)
        for reader in readers:
            reader.trouble = ""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Forget the messages, which the cluster has forgotten already."""
        with self._changed:
            for delivery in deliveries:
                if delivery.topic in self._readers:
                    self._readers[delivery.topic].forget(delivery)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Have the messages come first again."""
        with self._changed:
            for delivery in reversed(deliveries):
                if delivery.topic in self._readers:
                    self._readers[delivery.topic].take_back(delivery)

    def count(self, topic: str) -> int:
        """How many messages of *topic* nobody has taken, and how many nobody here holds of those that were."""
        waiting = self._topics.waiting(topic)
        with self._changed:
            reader = self._readers.get(topic)
            return waiting + (reader.kept if reader else 0)

    def trouble(self) -> str | None:
        """Why the cluster cannot be reached."""
        return self._topics.trouble()

    def close(self) -> None:
        """Leave all groups; messages held go back."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            readers = list(self._readers.values())
            self._changed.notify_all()
        for reader in readers:
            reader.close()
        self._producer.flush(_LAST)

    def _reader(self, topic: str) -> Reader:
        """The reader of a topic; the lock is held."""
        if self._closed:
            raise BusUnavailable(f"The bus at {self._place.shown} was closed.")
        if topic not in self._readers:
            self._readers[topic] = Reader(
                topic,
                consumer=lambda note: self._consumer(topic, note),
                name=lambda: self._made(topic),
                changed=self._changed,
                give_back=lambda bodies: self._publish(topic, bodies),
            )
        return self._readers[topic]

    def _made(self, topic: str) -> str:
        """The name of a topic that stands."""
        self._topics.forget(topic)
        self._topics.partitions(topic)
        return self._place.topic(topic)

    def _consumer(self, topic: str, note: Callable[[KafkaError], None]) -> Consumer:
        return Consumer(
            {
                "session.timeout.ms": _SESSION,
                "heartbeat.interval.ms": 1_000,
                **self._common,
                **({"group.instance.id": topic} if topic in _LEADERS else {}),
                "group.id": self._place.group(topic),
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "fetch.message.max.bytes": MAX_MESSAGE,
                "queued.min.messages": 1,
                "fetch.queue.backoff.ms": _REST,
                "queued.max.messages.kbytes": 65_536,
            },
            error_cb=note,
        )


#: What a cluster says of a topic that was deleted.
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)


def _handed_out(readers: Sequence[Reader], limit: int) -> list[Delivery]:
    """Up to *limit* messages that have arrived; the lock is held."""
    found: list[Delivery] = []
    for reader in readers:
        found += reader.hand_out(limit - len(found))
    return found


def _pass_over(_error: KafkaError) -> None:
    """What is wrong is said where somebody waits for it."""
