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

import pytest

from limner.bus.base import Delivery
from limner.bus.http import HttpBus
from limner.domain.tasks import ANSWERS, STOPPING, Heartbeat, Released, decode_task, encode_message
from limner.domain.values import decode
from limner.domain.workers import Told
from limner.errors import UsageError
from tests.far.consumer import Consumer
from tests.far.http_bus import SINGLY, TOPIC, answer, bus_of, numbers, settings, take_all
from tests.far.rig import Server
from tests.waiting import LONG, until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose own process infers nothing."""
    with Server(tmp_path_factory.mktemp("server") / "project", pipeline=SINGLY, settings=settings()) as served:
        yield served


@pytest.fixture
def bus(server: Server) -> Iterator[HttpBus]:
    """The bus of a worker that has said hello."""
    made = bus_of(server)
    yield made
    made.close()


def records(deliveries: Sequence[Delivery]) -> list[int]:
    """The numbers that the records of tasks are to double."""
    return [decode(value) for one in deliveries for value in decode_task(one.body).columns["number"]]


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


@pytest.mark.timed
def test_an_empty_topic_answers_at_once(bus: HttpBus) -> None:
    """Without a wait a question is answered with nothing; with one, when the time is up."""
    assert bus.take([TOPIC], limit=10) == []
    assert bus.take([], limit=10) == []
    assert bus.count(TOPIC) == 0
    began = time.monotonic()
    assert bus.take([TOPIC], limit=1, wait=timedelta(seconds=0.3)) == []
    assert 0.2 < time.monotonic() - began < 5


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
