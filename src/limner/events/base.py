"""The contract of a publisher: events in order, each confirmed before the journal's number is kept."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct


class Message(Struct, frozen=True, kw_only=True):
    """One event as it travels."""

    #: Unique within the event's source; the same when it is published again.
    id: str
    #: ``project.collection.kind``, each part without dots of its own.
    topic: str
    #: Events with the same key stay in their order, however a broker divides a topic.
    key: str
    #: A CloudEvent in structured JSON.
    body: bytes


class Publisher(ABC):
    """Hands events to a broker; used by one thread."""

    @abstractmethod
    def publish(self, messages: Sequence[Message]) -> None:
        """
        Publish *messages* in their order; the broker has all of them on return, if anybody subscribed.

        After an error some may have been published: the same ones are published again, from the first.

        Raises:
            EventsUnavailable: the broker cannot be reached or does not take them; asking again is safe.
        """

    @abstractmethod
    def rest(self, pause: timedelta) -> None:
        """Do nothing for *pause*, but keep the connection alive."""

    @abstractmethod
    def close(self) -> None:
        """Hang up."""
