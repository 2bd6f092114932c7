"""A far worker's bus at its limits: a server that is away, answers too large for one message, much that is kept."""

from datetime import timedelta
from pathlib import Path

import pytest

from limner.domain.digests import digest
from limner.domain.tasks import ANSWERS, Answer, Heartbeat, Outcome, Status, decode_task, encode_message
from limner.domain.values import encode
from limner.errors import BusUnavailable
from tests.far.http_bus import SINGLY, TOPIC, WIDE, answer, bus_of, numbers, settings, take_all
from tests.far.rig import INFERRERS, Server
from tests.waiting import LONG


@pytest.mark.slow
def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    """Questions and heartbeats say so; an answer is kept."""
    with Server(tmp_path / "project", pipeline=SINGLY) as server:
        bus = bus_of(server)
        server.submit(numbers(1))
        (one,) = take_all(bus, count=1)
    task = decode_task(one.body)

    with pytest.raises(BusUnavailable, match="cannot be reached"):
        bus.take([TOPIC], limit=1)
    with pytest.raises(BusUnavailable):
        bus.publish(ANSWERS, [encode_message(Heartbeat(worker="w1", tasks=[task.id]))])
    bus.publish(ANSWERS, [answer(task)])

    assert not bus.flush(timedelta(seconds=0.2))
    bus.close()


@pytest.mark.slow
def test_answers_are_kept_until_the_server_is_back(tmp_path: Path) -> None:
    """What was said while the server was away is committed when it comes back: it lost what it had sent, not this."""
    folder = tmp_path / "project"
    with Server(folder, pipeline=SINGLY, settings=settings()) as server:
        bus = bus_of(server)
        job = server.submit(numbers(3))
        tasks = [decode_task(one.body) for one in take_all(bus, count=3)]
    bus.publish(ANSWERS, [answer(task, value={"value": 5.0}) for task in tasks])

    with Server(folder, pipeline=SINGLY, settings=settings(), port=server.port) as again:
        assert bus.flush(LONG)
        assert again.wait(job) == "done"
        assert again.values(job) == {f"r{n}": {"value": 5.0} for n in range(3)}
    bus.close()


@pytest.mark.slow
def test_a17_a_huge_answer_is_sent_in_parts_and_nothing_is_cut(tmp_path: Path) -> None:
    """Sixty-four records of 29,000 scores are far more than one body may have; each arrives whole."""
    with Server(tmp_path / "project", pipeline=WIDE, inferrers=INFERRERS, settings=settings()) as server:
        bus = bus_of(server)
        job = server.submit(numbers(64))
        (one,) = take_all(bus, count=1)
        task = decode_task(one.body)
        scores = {"scores": [n / 29_000 for n in range(29_000)]}
        body = answer(task, value=scores)
        assert len(body) > bus.max_body_bytes

        bus.publish(ANSWERS, [body])

        assert bus.flush(LONG)
        assert server.wait(job) == "done"
        assert list(server.values(job).values()) == [scores] * 64
        bus.close()


@pytest.mark.slow
def test_a_smaller_limit_than_was_told_is_learned_from_the_refusal(tmp_path: Path) -> None:
    """413 names the limit; the worker halves, and succeeds."""
    with Server(tmp_path / "project", pipeline=WIDE, inferrers=INFERRERS, settings=settings()) as server:
        bus = bus_of(server, max_body_bytes=40_000_000)
        job = server.submit(numbers(64))
        (one,) = take_all(bus, count=1)

        bus.publish(ANSWERS, [answer(decode_task(one.body), value={"text": "x" * 300_000})])

        assert bus.flush(LONG)
        assert server.wait(job) == "done"
        assert bus.max_body_bytes == 10_000_000
        bus.close()


def test_a_record_that_is_too_large_alone_fails_and_says_what_to_do(tmp_path: Path) -> None:
    """One value above the limit cannot travel: it fails, its neighbours do not."""
    with Server(tmp_path / "project", pipeline=WIDE, inferrers=INFERRERS, settings=settings()) as server:
        bus = bus_of(server, max_body_bytes=100_000)
        job = server.submit(numbers(2))
        (one,) = take_all(bus, count=1)
        task = decode_task(one.body)
        small, large = (encode({"text": "x" * count}) for count in (10, 200_000))
        outcomes = [
            Outcome(index=at, status=Status.DONE, value=data, value_digest=digest(data))
            for at, data in enumerate((small, large))
        ]
        whole = Answer(
            task=task.id,
            attempt=1,
            worker="w1",
            outcomes=outcomes,
            keys=task.keys,
            asked=task.asked,
            started=0.0,
            seconds=0,
        )

        bus.publish(ANSWERS, [encode_message(whole)])

        assert bus.flush(LONG)
        assert server.wait(job) == "done_with_failures"
        assert server.values(job)["r0"] == {"text": "x" * 10}
        bus.close()


@pytest.mark.slow
def test_what_is_kept_beyond_a_bound_lies_on_the_disk(tmp_path: Path) -> None:
    """Forty megabytes of answers do not stay in memory while nobody takes them."""
    with Server(tmp_path / "project", pipeline=WIDE, settings=settings()) as server:
        bus = bus_of(server)
        server.submit(numbers(64))
        (one,) = take_all(bus, count=1)
    body = answer(decode_task(one.body), value={"text": "x" * 70_000})

    for _ in range(10):
        bus.publish(ANSWERS, [body])

    assert bus._outbox.held <= 16_000_000
    assert bus._outbox.filed > 20_000_000
    bus.close()
