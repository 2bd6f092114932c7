"""The contract of a bus: five verbs that move bytes; leases and truth are elsewhere, in the store."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct


class Delivery(Struct, frozen=True, kw_only=True):
    """One message that was taken and is neither acknowledged nor released yet."""

    topic: str
    #: Names the message to the bus that delivered it.
    tag: str
    body: bytes


class Bus(ABC):
    """Moves messages by topic; may lose or repeat them, since the store remembers what is owed."""

    #: Whether other processes reach the same messages, which outlive this one.
    shared = False
    #: A message that is held for longer may be given to somebody else; None where that never happens.
    hold_limit: timedelta | None = None

    @abstractmethod
    def publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        """
        Append *bodies* to *topic*, in order; returns when the bus has them.

        Raises:
            BusUnavailable: the bus cannot be reached; asking again is safe.
        """

    @abstractmethod
    def take(self, topics: Sequence[str], *, limit: int, wait: timedelta = timedelta()) -> list[Delivery]:
        """
        Take up to *limit* messages that nobody holds, oldest first within a topic.

        Returns as soon as there is one, at the latest after *wait*, perhaps empty.

        Raises:
            BusUnavailable: the bus cannot be reached; asking again is safe.
        """

    @abstractmethod
    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Forget the messages; one that is not held any more is passed over."""

    @abstractmethod
    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Put the messages back at the front of their topics; one that is not held any more is passed over."""

    @abstractmethod
    def count(self, topic: str) -> int:
        """How many messages of *topic* nobody holds; what was given back just now may be counted a moment later."""

    def flush(self, within: timedelta) -> bool:
        """Wait until everything that was published has arrived, at most so long; whether it has."""
        return True

    def trouble(self) -> str | None:
        """What keeps messages from moving at the moment, as a sentence; None where nothing does."""
        return None

    def close(self) -> None:
        """Let go of connections; messages held go back."""
        return
