"""Topics of Kafka: made where they are missing, and counted."""

import threading
import time
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from limner.bus.kafka_place import Place
from limner.errors import BusUnavailable

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
#: Seconds that the cluster may take to answer.
ANSWER = 10.0
_PROBE, _PAUSE = 5.0, 0.1
#: What a cluster says of a topic that was made, or of a group that was begun, a moment ago.
_SOON_OVER = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)


class Topics:
    """What stands on the cluster."""

    def __init__(self, admin: AdminClient, place: Place, *, declares: bool) -> None:
        """*declares*: make what is missing; a far worker's user needs no right to."""
        self._admin = admin
        self._place = place
        self._declares = declares
        self._known: dict[str, int] = {}
        self._lock = threading.Lock()

    def partitions(self, topic: str) -> int:
        """
        How many partitions *topic* has; it is made where it is missing.

        Raises:
            BusUnavailable: the cluster cannot be reached, or the topic may not be made.
        """
        with self._lock:
            if topic not in self._known:
                self._known[topic] = self._find(topic) or self._make(topic)
            return self._known[topic]

    def forget(self, topic: str) -> None:
        """Look again at the next question: somebody may have deleted it."""
        with self._lock:
            self._known.pop(topic, None)

    def waiting(self, topic: str) -> int:
        """How many messages of *topic* its group has not taken."""
        name = self._place.topic(topic)
        gives_up = time.monotonic() + ANSWER
        while True:
            places = [TopicPartition(name, number) for number in range(self.partitions(topic))]
            try:
                return self._lag(topic, places)
            except KafkaException as error:
                self.forget(topic)
                if error.args[0].code() not in _SOON_OVER or time.monotonic() > gives_up:
                    raise self.unavailable(error) from error
            # The pace of asking again, nothing more.
            time.sleep(_PAUSE)

    def _lag(self, topic: str, places: "list[TopicPartition]") -> int:
        asked = ConsumerGroupTopicPartitions(self._place.group(topic), places)
        taken = self._one(self._admin.list_consumer_group_offsets([asked], request_timeout=ANSWER))
        ends = self._offsets(places, _LATEST)
        begins = self._offsets(places, _EARLIEST)
        done = {place.partition: place.offset for place in taken.topic_partitions}
        return sum(max(0, end - max(begins[number], done.get(number, 0))) for number, end in ends.items())

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

    def _find(self, topic: str) -> int:
        """Partitions of a topic that stands; 0 where it does not."""
        name = self._place.topic(topic)
        try:
            found = self._admin.list_topics(name, timeout=ANSWER).topics[name]
        except KafkaException as error:
            raise self.unavailable(error) from error
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
                raise self.unavailable(error) from error
        return self._find(topic) or self._place.partitions_of(topic)

    def _offsets(self, places: "list[TopicPartition]", which: OffsetSpec) -> dict[int, int]:
        futures = self._admin.list_offsets(dict.fromkeys(places, which), request_timeout=ANSWER)
        return {place.partition: found.result(ANSWER).offset for place, found in futures.items()}

    def _one(self, futures: "dict[Any, Any]") -> Any:  # noqa: ANN401  the driver's own results
        """What the only one of *futures* says."""
        (future,) = futures.values()
        return future.result(ANSWER)
