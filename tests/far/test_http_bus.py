"""
A far worker's bus, over a real server: the half of the contract that a worker uses.

What the suite of every bus (:mod:`limner.testing.bus_contract`) asks beyond that, this bus does not do: it publishes
nothing but answers, so no topic can be filled through it; what is released is sent anew by the engine, with the next
attempt and not before all others; and it is acknowledged on the server when it is handed out, so that what a worker
holds is its lease's matter. Here are the suite's other cases, over tasks of one record each.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from limner.bus.base import Delivery
from limner.bus.http import HttpBus
from limner.clock import SystemClock
from limner.domain.digests import digest
from limner.domain.tasks import (
    ANSWERS,
    STOPPING,
    Answer,
    Heartbeat,
    Outcome,
    Released,
    Status,
    Task,
    decode_task,
    encode_message,
)
from limner.domain.values import decode, encode
from limner.domain.workers import Told
from limner.errors import BusUnavailable, UsageError
from tests.far.consumer import Consumer
from tests.far.rig import INFERRERS, PIPELINE, Server
from tests.pace import allowed
from tests.waiting import LONG, until

TOPIC = "far.double/default"
#: One record a task; a value may be anything.
SINGLY = PIPELINE.replace("task_size=8", "task_size=1").replace("batch=4", "batch=1")
WIDE = PIPELINE.replace('outputs={"value": Number()},', "").replace("task_size=8", "task_size=64")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose own process infers nothing."""
    with Server(tmp_path_factory.mktemp("server") / "project", pipeline=SINGLY, settings=settings()) as served:
        yield served


def settings(**more: object) -> str:
    """The settings of a server that has many tasks out at once, and takes nobody for lost."""
    chosen = {"lease": 60.0, "in_flight": 1000} | more
    return "".join(f"{name} = {value}\n" for name, value in chosen.items())


@pytest.fixture
def bus(server: Server) -> Iterator[HttpBus]:
    """The bus of a worker that has said hello."""
    made = bus_of(server)
    yield made
    made.close()


def bus_of(server: Server, *, name: str = "w1", **options: object) -> HttpBus:
    """The bus of a worker that says hello."""
    assert Consumer(server, name=name).hello()["told"] == []
    return HttpBus(server.client(), worker=name, **options)  # type: ignore[arg-type]  # the tests' own options


def take_all(bus: HttpBus, *, count: int) -> list[Delivery]:
    """Take until so many came."""
    taken: list[Delivery] = []
    while len(taken) < count:
        more = bus.take([TOPIC], limit=count - len(taken), wait=LONG)
        assert more, f"only {len(taken)} of {count} came"
        taken += more
    return taken


def records(deliveries: Sequence[Delivery]) -> list[int]:
    """The numbers that the records of tasks are to double."""
    return [decode(value) for one in deliveries for value in decode_task(one.body).columns["number"]]


def answer(task: Task, *, value: object = None, worker: str = "w1", last: bool = True) -> bytes:
    """The answer that a worker gives to a whole task."""
    data = encode({"value": 1.0} if value is None else value)
    return encode_message(
        Answer(
            task=task.id,
            attempt=task.attempt,
            worker=worker,
            outcomes=[
                Outcome(index=at, status=Status.DONE, value=data, value_digest=digest(data), read_digest=b"r" * 16)
                for at in range(len(task.keys))
            ],
            keys=task.keys,
            asked=task.asked,
            started=SystemClock().now(),
            seconds=0.1,
            last=last,
        )
    )


def numbers(count: int, *, start: int = 0) -> list[dict[str, int]]:
    """Records."""
    return [{"number": start + n} for n in range(count)]


def test_tasks_come_in_order(server: Server, bus: HttpBus) -> None:
    """The oldest task comes first, over several questions."""
    server.submit(numbers(3))

    assert records(take_all(bus, count=3)) == [0, 1, 2]


def test_take_keeps_its_limit(server: Server, bus: HttpBus) -> None:
    """No more than the limit is handed out; the rest stays for others, and is counted."""
    server.submit(numbers(3))
    until(lambda: bus.count(TOPIC) == 3)

    assert len(bus.take([TOPIC], limit=2, wait=LONG)) <= 2
    assert bus.count(TOPIC) >= 1


def test_an_empty_topic_answers_at_once(bus: HttpBus) -> None:
    """Without a wait a question is answered with nothing; with one, when the time is up."""
    assert bus.take([TOPIC], limit=10) == []
    assert bus.take([], limit=10) == []
    assert bus.count(TOPIC) == 0
    began = time.monotonic()
    assert bus.take([TOPIC], limit=1, wait=timedelta(seconds=0.3)) == []
    assert 0.2 < time.monotonic() - began < allowed(5)


def test_a_new_task_wakes_who_waits(server: Server, bus: HttpBus) -> None:
    """A question that waits ends with the task, not with its time."""
    found: list[Delivery] = []
    waiting = threading.Thread(target=lambda: found.extend(bus.take([TOPIC], limit=1, wait=LONG)))
    waiting.start()
    start = time.monotonic()

    server.submit(numbers(1))
    waiting.join()

    assert records(found) == [0]
    assert time.monotonic() - start < LONG.total_seconds() / 2


def test_a_held_task_is_not_seen_again(server: Server, bus: HttpBus) -> None:
    """What somebody holds is neither taken nor counted; to acknowledge it changes nothing on the server."""
    server.submit(numbers(1))
    held = take_all(bus, count=1)

    assert bus.take([TOPIC], limit=1) == []
    assert bus.count(TOPIC) == 0
    bus.acknowledge(held)
    bus.acknowledge(held)
    assert bus.take([TOPIC], limit=1) == []


def test_a_released_task_is_given_out_again(server: Server, bus: HttpBus) -> None:
    """What is given back comes again, to whoever asks; to give it back twice does nothing."""
    server.submit(numbers(2))
    held = take_all(bus, count=2)

    bus.release(held)
    bus.release(held)

    assert sorted(records(take_all(bus, count=2))) == [0, 1]
    assert bus.take([TOPIC], limit=1) == []


def test_it_publishes_answers_only(bus: HttpBus) -> None:
    """A worker hands out no tasks."""
    with pytest.raises(UsageError, match="publishes answers only"):
        bus.publish(TOPIC, [b"1"])


def test_many_threads_take_each_task_once(server: Server) -> None:
    """Workers that ask at the same moment share no task."""
    job = server.submit(numbers(120))
    taken: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        mine = bus_of(server, name=f"w{number}")
        while not server.job(job).state.ended:
            for one in mine.take([TOPIC], limit=3, wait=timedelta(seconds=0.1)):
                with lock:
                    taken.extend(records([one]))
                mine.publish(ANSWERS, [answer(decode_task(one.body), worker=f"w{number}")])
                mine.acknowledge([one])
        mine.close()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sorted(taken) == list(range(120))
    assert server.counts(job).done == 120


def test_an_answer_is_committed(server: Server, bus: HttpBus) -> None:
    """What is published arrives, in the background, and the job ends; a repeated answer changes nothing."""
    job = server.submit(numbers(1))
    (one,) = take_all(bus, count=1)
    body = answer(decode_task(one.body), value={"value": 7.0})

    bus.publish(ANSWERS, [body, body])

    assert bus.flush(LONG)
    assert server.wait(job) == "done"
    assert server.values(job) == {"r0": {"value": 7.0}}


def test_a_task_that_is_given_back_by_message_costs_no_attempt(server: Server, bus: HttpBus) -> None:
    """A worker that stops gives back what it did not begin; it is ready at once."""
    server.submit(numbers(1))
    (one,) = take_all(bus, count=1)
    task = decode_task(one.body)

    bus.publish(ANSWERS, [encode_message(Released(worker="w1", task=task.id, attempt=task.attempt, reason=STOPPING))])
    (again,) = take_all(bus, count=1)

    assert decode_task(again.body).records == task.records
    with server.host.store.reading() as tx:
        assert tx.tasks.load([task.id])[task.id].tried == 0


def test_a_heartbeat_moves_leases_and_tells_what_is_cancelled(server: Server) -> None:
    """The lease of what is held is moved; what nobody waits for is told, to be dropped."""
    told: list[int] = []
    bus = bus_of(server, cancelled=told.extend)
    job = server.submit(numbers(2))
    held = [decode_task(one.body).id for one in take_all(bus, count=2)]

    def leases() -> list[float]:
        with server.host.store.reading() as tx:
            return [task.lease_until or 0.0 for task in tx.tasks.load(held).values()]

    before = leases()
    bus.publish(ANSWERS, [encode_message(Heartbeat(worker="w1", tasks=held))])
    assert all(new > old for new, old in zip(leases(), before, strict=True))

    server.host.cancel(job.id)
    bus.publish(ANSWERS, [encode_message(Heartbeat(worker="w1", tasks=held))])
    assert sorted(told) == sorted(held)
    bus.close()


def test_why_nothing_comes_is_told(server: Server) -> None:
    """A worker of another version hears it with every question."""
    Consumer(server, name="old").hello(code="0")
    heard: list[Told] = []
    bus = HttpBus(server.client(), worker="old", told=heard.extend)

    assert bus.take([TOPIC], limit=1) == []

    assert "code version is 0 and not 1" in heard[0].why
    bus.close()


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
