"""Leases in the open protocol: who holds a task, until when, and what becomes of what is given back."""

import time
from datetime import timedelta

import pytest

from tests.far.consumer import Consumer, doubled
from tests.far.rig import Server
from tests.far.stored import tried


def test_only_the_holder_of_a_lease_is_heard(server: Server, consumer: Consumer) -> None:
    """A token of another task, of another worker or made up is refused, and changes nothing."""
    job = server.submit([{"number": n} for n in range(16)])
    first, second = consumer.take(max_tasks=2)
    other = Consumer(server, name="w2")
    other.hello()

    for who, task in (
        (other, first),
        (consumer, {**first, "lease": second["lease"]}),
        (consumer, {**first, "lease": {"token": "1.AAAAAAAAAAAAAAAAAAAAAA"}}),
        (consumer, {**first, "lease": {"token": ""}}),
        (consumer, {**first, "task_id": 10**9}),
    ):
        receipt = who.complete(task, doubled(first))
        assert (receipt["state"], len(receipt["problems"])) == ("refused", 1)

    assert server.counts(job).done == 0


@pytest.mark.timed
def test_a23_what_is_released_is_ready_at_once_and_costs_no_attempt(server: Server, consumer: Consumer) -> None:
    """Another worker is given it within two seconds; nothing is counted against its records."""
    server.submit([{"number": 1}])
    (task,) = consumer.take()
    other = Consumer(server, name="w2")
    other.hello()

    assert consumer.say("tasks:release", {"leases": [consumer.lease(task)], "reason": "walltime"}) == {"released": 1}
    began = time.monotonic()
    (again,) = other.take()

    assert time.monotonic() - began < 2
    assert again["records"] == task["records"]
    assert tried(server, again) == 0


def test_some_records_of_a_task_may_be_released(server: Server, consumer: Consumer) -> None:
    """The others stay with their worker; every record is done once."""
    job = server.submit([{"number": n} for n in range(8)])
    (task,) = consumer.take()
    keys = [record["key"] for record in task["records"]]

    consumer.say("tasks:release", {"leases": [consumer.lease(task, keys=keys[:3])]})
    (again,) = consumer.take()

    assert [record["key"] for record in again["records"]] == keys[:3]
    assert consumer.complete(task, doubled(task)[3:])["open"] == 0
    assert consumer.complete(again, doubled(again))["open"] == 0
    assert server.wait(job) == "done"
    assert server.counts(job).done == 8


def test_leases_move_and_are_told(server: Server, consumer: Consumer) -> None:
    """Held while it is the holder's, lost where it is not, cancelled when nobody waits for it."""
    job = server.submit([{"number": n} for n in range(16)])
    first, second = consumer.take(max_tasks=2)
    strange = {"task_id": second["task_id"], "token": first["lease"]["token"]}

    held, lost = consumer.say("tasks:extend", {"leases": [consumer.lease(first), strange]})["leases"]
    assert (held["state"], lost["state"]) == ("held", "lost")
    assert held["expires_at"] >= first["lease"]["expires_at"]

    server.host.cancel(job.id)
    (gone,) = consumer.say("tasks:extend", {"leases": [consumer.lease(first)]})["leases"]
    assert gone == {"task_id": first["task_id"], "state": "cancelled", "expires_at": None}


def test_a25_a_cancelled_task_is_told_and_given_to_nobody(server: Server, consumer: Consumer) -> None:
    """The heartbeat names it, what waited on the bus is not handed out, and a late answer revives nothing."""
    job = server.submit([{"number": n} for n in range(32)])
    (task,) = consumer.take()
    assert consumer.complete(task, doubled(task)[:2])["open"] == 6

    server.host.cancel(job.id)

    assert consumer.beat(task)["cancelled"] == [task["task_id"]]
    assert consumer.take(wait_s=0.3) == []
    assert consumer.complete(task, doubled(task))["state"] == "cancelled"
    assert server.job(job).state == "cancelled"
    assert (server.counts(job).done, server.counts(job).cancelled) == (2, 30)


@pytest.mark.slow
def test_a_silent_worker_loses_its_task_and_its_late_answer_counts_for_what_is_open(server: Server) -> None:
    """When the lease has run out somebody else is given the records; what came first stands, the other is late."""
    slow, fast = Consumer(server, name="slow"), Consumer(server, name="fast")
    slow.hello()
    fast.hello()
    job = server.submit([{"number": n} for n in range(8)])
    (mine,) = slow.take()

    (theirs,) = fast.take(wait_s=30)
    assert fast.complete(theirs, doubled(theirs)[:4])["state"] == "committed"
    late = slow.complete(mine, doubled(mine))

    assert late["state"] == "late_accepted"
    assert server.wait(job, within=timedelta(seconds=30)) == "done"
    assert server.counts(job).done == 8
