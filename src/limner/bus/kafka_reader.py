"""One topic of Kafka, read as a member of its group: only what somebody waits for is taken."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from limner.bus.base import Delivery
from limner.errors import BusUnavailable

_log = structlog.get_logger(__name__)

#: Seconds of one question.
_SLICE = 0.1
#: Seconds without anybody who waits after which a member leaves its group, so that others have its partitions.
_IDLE = 5.0
#: Seconds between tries where the cluster cannot be reached.
_PAUSE = 1.0


class Reader:
    """
    Takes messages while somebody waits for them.

    The offset of a message is committed before it is handed out: who holds what is the store's to know, and a message
    that is lost with its holder is sent again when its lease has run out. A consumer of Kafka owns its partitions
    whether it asks for messages or not, so one that has been busy for some seconds leaves.
    """

    def __init__(
        self,
        topic: str,
        *,
        consumer: Callable[[Callable[[KafkaError], None]], Consumer],
        name: Callable[[], str],
        changed: threading.Condition,
        give_back: Callable[[Sequence[bytes]], None],
    ) -> None:
        """
        *consumer* makes one that reports errors; *name* is the topic's on the cluster, which is made if it is missing.

        *changed* guards all that others see, and is told of what arrived; *give_back* publishes messages again.
        """
        self.topic = topic
        #: What keeps messages from coming, as far as is known.
        self.trouble = ""
        #: Whether it is a member that messages may come to.
        self.joined = False
        self._make, self._name = consumer, name
        self._changed = changed
        self._give_back = give_back
        self._wanted = 0
        self._idle_since = time.monotonic()
        self._arrived: deque[Delivery] = deque()
        self._held: dict[str, Delivery] = {}
        #: What ended the consumer for good.
        self._ended: KafkaError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"kafka-{topic}", daemon=True)
        self._thread.start()

    def want(self, count: int) -> None:
        """So many more are waited for, or fewer where it is negative; the caller holds *changed*."""
        self._wanted += count
        self._idle_since = time.monotonic()
        if count > 0:
            self._changed.notify_all()

    def hand_out(self, limit: int) -> list[Delivery]:
        """Up to *limit* messages that have arrived; the caller holds *changed*."""
        found = [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]
        self._held.update((delivery.tag, delivery) for delivery in found)
        return found

    def forget(self, delivery: Delivery) -> None:
        """It is done with; the caller holds *changed*."""
        self._held.pop(delivery.tag, None)

    def take_back(self, delivery: Delivery) -> None:
        """It comes first again; the caller holds *changed*."""
        if self._held.pop(delivery.tag, None) is not None:
            self._arrived.appendleft(delivery)
            self._changed.notify_all()

    @property
    def kept(self) -> int:
        """Messages that were taken from the cluster, and that nobody holds; the caller holds *changed*."""
        return len(self._arrived)

    def close(self) -> None:
        """Leave the group; what it held goes back."""
        with self._changed:
            self._closed = True
            self._arrived.extendleft(reversed(self._held.values()))
            self._held.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            try:
                self._read()
            except (KafkaException, BusUnavailable) as error:
                self._stumble(str(error))
            except Exception as error:  # noqa: BLE001  a topic that nobody reads any more would stop all work in silence
                _log.exception("reader_broke", topic=self.topic)
                self._stumble(f"{type(error).__name__}: {error}")
        self._return_kept()

    def _stumble(self, reason: str) -> None:
        """Tell whoever waits what is wrong, and pause."""
        with self._changed:
            self.trouble = reason
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed, _PAUSE)

    def _read(self) -> None:
        """Be a member while there is somebody who waits."""
        if not self._wait_for_demand(None):
            return
        name = self._name()
        self._ended = None
        consumer = self._make(self._note)
        try:
            consumer.subscribe([name], on_assign=self._assigned)
            while self._wait_for_demand(_IDLE):
                self._poll(consumer)
        finally:
            self.joined = False
            with suppress(RuntimeError):
                consumer.close()
        self._return_kept()

    def _wait_for_demand(self, within: float | None) -> bool:
        """Whether somebody waits for messages, now or *within* some seconds of the last who did."""
        with self._changed:
            # A member that is on its way in goes on: who asks again and again for moments would else wait for many.
            entering = within is not None and not self.joined
            while not self._closed and self._room() <= 0 and not entering:
                left = None if within is None else self._idle_since + within - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            return not self._closed

    def _room(self) -> int:
        return self._wanted - len(self._arrived)

    def _poll(self, consumer: Consumer) -> None:
        """Take what is there, as much as is waited for."""
        first = consumer.poll(_SLICE)
        if self._ended is not None:
            # Somebody took its place, for one: a new consumer takes it back.
            raise KafkaException(self._ended)
        if first is None:
            return
        room = self._room()
        found = [first, *(consumer.consume(room - 1, 0) if room > 1 else [])]
        messages = [message for message in found if not self._is_error(message)]
        if not messages:
            return
        with self._changed:
            wanted = messages[: max(0, self._room())]
        if len(wanted) < len(messages):
            # Whoever waited has been served by another topic: others may have these.
            for place in _places(messages[len(wanted) :], first=True):
                consumer.seek(place)
        if wanted:
            consumer.commit(offsets=_places(wanted, first=False), asynchronous=False)
            with self._changed:
                self._arrived.extend(self._delivery(message) for message in wanted)
                self.trouble = ""
                self._changed.notify_all()

    def _delivery(self, message: Message) -> Delivery:
        return Delivery(
            topic=self.topic, tag=f"{message.partition()}:{message.offset()}", body=bytes(message.value() or b"")
        )

    def _is_error(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(error)
        self._note(error)
        return True

    def _assigned(self, _consumer: Consumer, _places: "list[TopicPartition]") -> None:
        self.joined = True

    def _note(self, error: KafkaError) -> None:
        """Remember what is wrong; librdkafka goes on trying by itself, unless it says that it does not."""
        if error.code() != KafkaError._PARTITION_EOF:
            self.trouble = error.str()
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._ended = error

    def _return_kept(self) -> None:
        """Have the cluster give to others what nobody here takes."""
        with self._changed:
            bodies = [delivery.body for delivery in self._arrived]
            self._arrived.clear()
        if not bodies:
            return
        try:
            self._give_back(bodies)
        except BusUnavailable as error:
            # Their leases run out, and the store sends them again.
            _log.warning("messages_not_returned", topic=self.topic, count=len(bodies), reason=str(error))


def _places(messages: Sequence[Message], *, first: bool) -> list[TopicPartition]:
    """By partition: the place of the *first* of *messages*, or the one after the last."""
    found: dict[int, TopicPartition] = {}
    for message in messages:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        if not first or partition not in found:
            found[partition] = TopicPartition(topic, partition, offset + (0 if first else 1))
    return list(found.values())
