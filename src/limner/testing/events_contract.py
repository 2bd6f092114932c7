"""What every publisher of events must do; subclass it and give it fixtures `publisher` and `heard`."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from limner.events.base import Message, Publisher

#: More than a broker confirms one by one in no time.
_MANY = 3000


def messages(count: int, *, topic: str = "default.things.record.changed", size: int = 0) -> list[Message]:
    """So many events of as many records."""
    return [
        Message(id=str(n), topic=topic, key=f"things/{n % 7}", body=json.dumps({"n": n, "more": "x" * size}).encode())
        for n in range(count)
    ]


class PublisherContract:
    """Tests that run over every backend; somebody subscribed to everything before each."""

    @pytest.fixture
    def publisher(self) -> Publisher | Iterator[Publisher]:
        """The backend to test; a generator closes it."""
        raise NotImplementedError("abstract: a subclass gives the fixture `publisher`")

    @pytest.fixture
    def heard(self) -> Callable[[int], list[tuple[str, bytes]]]:
        """Called with a number: topic and body of what the subscriber got, once it is as many, oldest first."""
        raise NotImplementedError("abstract: a subclass gives the fixture `heard`")

    def test_messages_arrive_as_they_are(
        self, publisher: Publisher, heard: Callable[[int], list[tuple[str, bytes]]]
    ) -> None:
        """Each comes by its topic, with its bytes; events of different topics in any order."""
        (one,) = messages(1)
        (other,) = messages(1, topic="other.my%2Ethings.results.changed")

        publisher.publish([one, other])

        assert sorted(heard(2)) == [(one.topic, one.body), (other.topic, other.body)]

    def test_order_is_kept(self, publisher: Publisher, heard: Callable[[int], list[tuple[str, bytes]]]) -> None:
        """Events of one record come in the order in which they were published, however many there are at once."""
        sent = messages(_MANY)

        publisher.publish(sent[:2000])
        publisher.publish(sent[2000:])

        numbers = [json.loads(body)["n"] for _, body in heard(_MANY)]
        assert sorted(numbers) == list(range(_MANY))
        for record in range(7):
            mine = [n for n in numbers if n % 7 == record]
            assert mine == sorted(mine)

    def test_the_same_may_be_published_again(
        self, publisher: Publisher, heard: Callable[[int], list[tuple[str, bytes]]]
    ) -> None:
        """Who does not know whether it was published publishes it again."""
        (one,) = messages(1)

        publisher.publish([one])
        publisher.publish([one])

        assert [body for _, body in heard(2)] == [one.body, one.body]

    def test_the_largest_event_arrives(
        self, publisher: Publisher, heard: Callable[[int], list[tuple[str, bytes]]]
    ) -> None:
        """An event of a megabyte is let through."""
        (large,) = messages(1, size=1_000_000)

        publisher.publish([large])

        assert [body for _, body in heard(1)] == [large.body]

    def test_nothing_and_rest_do_no_harm(
        self, publisher: Publisher, heard: Callable[[int], list[tuple[str, bytes]]]
    ) -> None:
        """Before, between and after, a publisher may rest, or be given nothing."""
        publisher.rest(timedelta(seconds=0.01))
        publisher.publish([])
        publisher.rest(timedelta(seconds=0.01))
        publisher.publish(messages(2))
        publisher.rest(timedelta(seconds=0.01))
        publisher.publish([])

        assert len(heard(2)) == 2
