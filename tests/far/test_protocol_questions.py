"""Questions for tasks in the open protocol: who is given what, how much of it, and why nothing."""

import threading
import time

import httpx
import pytest

from tests.far.consumer import DOUBLE, Consumer, Said, doubled
from tests.far.rig import Server
from tests.far.stored import tried


def test_another_version_is_given_no_work_and_told_why(server: Server) -> None:
    """A worker of other code says hello, and hears with its hello and with each question what is wrong."""
    server.submit([{"number": 1}])
    old = Consumer(server, name="old")

    (told,) = old.hello(code="0")["told"]
    answer = old.ask(wait_s=0.2)

    assert "code version is 0 and not 1" in told["why"]
    assert answer["tasks"] == []
    assert answer["told"] == [told]
    assert Consumer(server, name="new").hello(digest=active(server))["told"] == []


def test_what_nobody_wants_served_is_told(server: Server) -> None:
    """An unknown stage is answered with the known ones."""
    unknown = [{"stage": "dubble", "implementation": "default"}]

    (told,) = Consumer(server, name="lost").hello(serves=unknown)["told"]

    assert told["why"] == "no pipeline here has a stage dubble; known are: double"


def test_a_stranger_is_sent_to_say_hello(server: Server) -> None:
    """A worker that the server does not know is told what to do first."""
    ghost = Consumer(server, name="ghost")

    for path, body in (("tasks:take", {"serves": [DOUBLE]}), ("workers:heartbeat", {})):
        problem = ghost.say(path, body, status=404)
        assert "workers:hello" in problem["detail"]


@pytest.mark.timed
def test_a_question_waits_for_a_task(server: Server, consumer: Consumer) -> None:
    """A long poll ends with the task that comes, and empty when its time is over."""
    began = time.monotonic()
    assert consumer.take(wait_s=0.4) == []
    assert 0.3 < time.monotonic() - began < 5

    found: list[Said] = []
    asking = threading.Thread(target=lambda: found.extend(consumer.take(wait_s=20)))
    asking.start()
    began = time.monotonic()
    server.submit([{"number": 1}])
    asking.join()

    assert len(found) == 1
    assert time.monotonic() - began < 10


def test_a_task_for_somebody_who_hung_up_is_given_to_the_next(server: Server, consumer: Consumer) -> None:
    """A client that breaks its question off takes no task with it."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.url}/api/v1/tasks:take",
            json={"worker_id": "w1", "serves": [DOUBLE], "wait_s": 20},
            timeout=httpx.Timeout(5, read=0.3),
        )
    server.submit([{"number": 1}])

    (task,) = consumer.take()

    assert tried(server, task) == 0


def test_a31_a_question_bounds_what_it_is_given(server: Server, consumer: Consumer) -> None:
    """No more records than were asked for; what was left of the task comes once they are answered."""
    job = server.submit([{"number": n} for n in range(8)])

    (first,) = consumer.take(max_records=3, max_tasks=5)
    assert len(first["records"]) == 3
    assert consumer.complete(first, doubled(first))["open"] == 5
    (rest,) = consumer.take()

    assert len(rest["records"]) == 5
    assert consumer.complete(rest, doubled(rest))["open"] == 0
    assert server.wait(job) == "done"


def test_a31_bytes_are_bounded_where_they_are_known(server: Server, consumer: Consumer) -> None:
    """A question for few bytes is given at least one record, and no more than fit."""
    server.submit([{"number": 2**40 + n} for n in range(8)])

    (one,) = consumer.take(max_bytes=1)
    consumer.say("tasks:release", {"leases": [consumer.lease(one)]})
    (few,) = consumer.take(max_bytes=3 * 9)

    assert (len(one["records"]), len(few["records"])) == (1, 3)


def test_a28_fifty_takers_are_given_each_record_once(server: Server) -> None:
    """Workers that ask at the same moment never share a record."""
    job = server.submit([{"number": n} for n in range(400)])
    seen: list[str] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        me = Consumer(server, name=f"taker{number}")
        me.hello()
        while not server.job(job).state.ended:
            for task in me.take(wait_s=0.2):
                with lock:
                    seen.extend(record["id"] for record in task["records"])
                assert me.complete(task, doubled(task))["state"] == "committed"

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == len(set(seen)) == 400
    assert server.wait(job) == "done"


def active(server: Server) -> str:
    """The digest of the version that is served."""
    (found,) = server.get("work/implementations").json()["implementations"]
    digest: str = found["version"]["digest"]
    return digest
