"""Topics of Kafka: made where they are missing, and counted."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from limner.bus.kafka_place import Place
from limner.errors import BusUnavailable

#: Seconds that the cluster may take to answer, and those of a count, for which more important things wait.
ANSWER, _COUNT = 10.0, 3.0
_PROBE, _PAUSE = 5.0, 0.1
#: After a count that failed, none is tried for so many seconds.
_REST = 5.0
#: What a cluster says of a topic that was made, of a group that was begun, or of itself a moment after its start.
_SOON_OVER = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._DESTROY,
    KafkaError._NOENT,
)
_T = TypeVar("_T")


class Topics:
    """What stands on the cluster."""

    def __init__(
        self, admin: AdminClient, place: Place, *, common: Mapping[str, str | int | float | bool], declares: bool
    ) -> None:
        """*common* is what every client is told; *declares*: make what is missing, which a far worker may not."""
        self._admin = admin
        self._place = place
        self._common = common
        self._declares = declares
        self._known: dict[str, int] = {}
        self._lock = threading.Lock()
        self._resting, self._reason = 0.0, ""

    def partitions(self, topic: str) -> int:
        """
        How many partitions *topic* has; it is made where it is missing.

        Raises:
            BusUnavailable: the cluster cannot be reached, or the topic may not be made.
        """
        with self._lock:
            if topic not in self._known:
                self._known[topic] = self._patiently(lambda: self._find(topic) or self._make(topic), within=ANSWER)
            return self._known[topic]

    def forget(self, topic: str) -> None:
        """Look again at the next question: somebody may have deleted it."""
        with self._lock:
            self._known.pop(topic, None)

    def waiting(self, topic: str) -> int:
        """
        How many messages of *topic* its group has not taken.

        Raises:
            BusUnavailable: the cluster cannot be reached; it is not asked again for some seconds.
        """
        if time.monotonic() < self._resting:
            raise BusUnavailable(self._reason)
        number = self.partitions(topic)
        try:
            return self._patiently(lambda: self._lag(topic, number), within=_COUNT)
        except BusUnavailable as error:
            self.forget(topic)
            self._resting, self._reason = time.monotonic() + _REST, str(error)
            raise

    def trouble(self) -> str | None:
        """Why the cluster does not answer; None where it does."""
        try:
            self._admin.list_topics(timeout=_PROBE)
        except KafkaException as error:
            return str(self.unavailable(error))
        return None

    def unavailable(self, error: KafkaException) -> BusUnavailable:
        """What *error* says, and where."""
        reason: KafkaError = error.args[0]
        return BusUnavailable(f"{self._place.shown}: {reason.str()}")

    def _patiently(self, call: Callable[[], _T], *, within: float) -> _T:
        """What *call* returns; what will soon be over is waited for."""
        ends = time.monotonic() + within
        while True:
            try:
                return call()
            except KafkaException as error:
                if error.args[0].code() not in _SOON_OVER or time.monotonic() > ends:
                    raise self.unavailable(error) from error
            # The pace of asking again, nothing more.
            time.sleep(_PAUSE)

    def _lag(self, topic: str, partitions: int) -> int:
        """
        The messages behind what the group has committed.

        A client of its own asks, for the moment: one that is kept may go on asking a coordinator that is gone.
        """
        name = self._place.topic(topic)
        consumer = Consumer(
            {**self._common, "group.id": self._place.group(topic), "enable.auto.commit": False}, error_cb=_pass_over
        )
        try:
            places = [TopicPartition(name, number) for number in range(partitions)]
            done = {place.partition: place.offset for place in consumer.committed(places, timeout=_COUNT)}
            count = 0
            for place in places:
                begin, end = consumer.get_watermark_offsets(place, timeout=_COUNT)
                count += max(0, end - max(begin, done.get(place.partition, 0)))
            return count
        finally:
            consumer.close()

    def _find(self, topic: str) -> int:
        """Partitions of a topic that stands; 0 where it does not."""
        name = self._place.topic(topic)
        found = self._admin.list_topics(name, timeout=ANSWER).topics[name]
        return 0 if found.error is not None else len(found.partitions)

    def _make(self, topic: str) -> int:
        if not self._declares and "/" in topic and not topic.startswith("replies/"):
            raise BusUnavailable(f"{self._place.shown} has no topic {self._place.topic(topic)}: has the server begun?")
        wanted = NewTopic(
            self._place.topic(topic),
            num_partitions=self._place.partitions_of(topic),
            replication_factor=self._place.replication or -1,
            config=dict(self._place.topic_settings),
        )
        try:
            self._one(self._admin.create_topics([wanted], operation_timeout=ANSWER, request_timeout=ANSWER))
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        return self._find(topic) or self._place.partitions_of(topic)

    def _one(self, futures: "dict[str, Future[Any]]") -> None:
        """Wait for the only one of *futures*."""
        (future,) = futures.values()
        try:
            # The driver gives up first, and says why.
            future.result(ANSWER + 2.0)
        except FutureTimeoutError as error:
            raise BusUnavailable(f"{self._place.shown} has not answered for {ANSWER:g} s.") from error


def _pass_over(_error: KafkaError) -> None:
    """What is wrong is said where somebody waits for it."""
