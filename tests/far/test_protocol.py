"""The open protocol: any client in any language takes tasks and hands results in, over plain HTTP and JSON."""

import pytest

from limner.domain.failures import FailureCode
from tests.far.consumer import Consumer, Said, doubled, each
from tests.far.rig import Server
from tests.far.stored import failures, tried


def test_a_plain_client_does_a_job(server: Server, consumer: Consumer) -> None:
    """Hello, take, complete: the job is done, exactly, and every receipt says so."""
    job = server.submit([{"number": n} for n in range(20)])

    seen = 0
    while seen < 20:
        for task in consumer.take(max_tasks=2):
            assert (task["stage"], task["attempt"], task["time_limit_s"]) == ("far.double", 1, 20.0)
            receipt = consumer.complete(task, doubled(task))
            assert (receipt["state"], receipt["open"], receipt["problems"]) == ("committed", 0, [])
            seen += len(task["records"])

    assert server.wait(job) == "done"
    assert server.values(job) == {f"r{n}": {"value": 2 * n} for n in range(20)}


def test_a_hello_tells_what_to_keep_to(server: Server) -> None:
    """Heartbeat, lease and the largest body are told; who it is is shown with the address that it came from."""
    told = Consumer(server, name="named").hello()

    assert (told["heartbeat_s"], told["lease_s"], told["max_body_bytes"]) == (15.0, 5.0, 10_000_000)
    (shown,) = [w for w in server.get("workers").json()["workers"] if w["id"] == "named"]
    assert (shown["state"], shown["ip"], shown["serves"][0]["address"]) == ("live", "127.0.0.1", "far.double/default")


def test_any_part_of_a_task_may_be_sent(server: Server, consumer: Consumer) -> None:
    """Results come in parts; what is open is told, what came stays, and the same part again is a duplicate."""
    job = server.submit([{"number": n} for n in range(8)])
    (task,) = consumer.take()
    results = doubled(task)

    assert consumer.complete(task, results[:3])["open"] == 5
    assert server.counts(job).done == 3
    assert consumer.complete(task, results[:3])["state"] == "duplicate"
    assert consumer.complete(task, results[3:])["open"] == 0

    assert server.wait(job) == "done"


def test_a41_an_undeclared_output_is_refused_once(server: Server, consumer: Consumer) -> None:
    """The record fails with OUTPUT_INVALID in its first attempt; its neighbours are done."""
    job = server.submit([{"number": n} for n in range(3)])
    (task,) = consumer.take()
    results = doubled(task)
    results[1]["value"] = {"value": 2, "algorithm": "unheard of"}

    receipt = consumer.complete(task, results)

    assert receipt["state"] == "refused"
    assert "OUTPUT_INVALID" in receipt["problems"][0]
    assert "algorithm" in receipt["problems"][0]
    assert server.wait(job) == "done_with_failures"
    assert (server.counts(job).done, server.counts(job).failed) == (2, 1)
    assert failures(server, job) == [(FailureCode.OUTPUT_INVALID, 1)]


@pytest.mark.parametrize("value", [None, "text", {"value": "text"}, {}, {"value": None}, [1], {"value": True}])
def test_a_value_of_another_form_is_refused(server: Server, consumer: Consumer, value: object) -> None:
    """Whatever a stage does not declare is no value of it."""
    job = server.submit([{"number": 1}])
    (task,) = consumer.take()

    assert consumer.complete(task, each(task, lambda reads: value))["state"] == "refused"
    assert server.wait(job) == "failed"


def test_a_key_that_was_not_handed_out_is_told(server: Server, consumer: Consumer) -> None:
    """Results are matched by lease and key; any other key is a problem, and the right ones are committed."""
    job = server.submit([{"number": 1}])
    (task,) = consumer.take()
    wrong = [{"key": key, "ok": True, "value": {"value": 1}} for key in ("", "7", "7-", "7-zz", "999999-00", "x-00")]

    receipt = consumer.complete(task, [*wrong, *doubled(task)])

    assert receipt["state"] == "refused"
    assert len(receipt["problems"]) == 6
    assert server.wait(job) == "done"


def test_a_failure_keeps_its_code(server: Server, consumer: Consumer) -> None:
    """A code of the list is kept; one of the worker's own becomes a reason; what is final is not tried again."""
    job = server.submit([{"number": n} for n in range(3)])
    (task,) = consumer.take()
    said: list[Said] = [
        {"code": "DECODE_FAILED", "message": "no picture"},
        {"code": "MY_OWN", "message": "odd"},
        {"code": "SOURCE_TIMEOUT", "message": "never", "retryable": False},
    ]

    consumer.complete(
        task, [{"key": r["key"], "ok": False, "failure": f} for r, f in zip(task["records"], said, strict=True)]
    )

    assert server.wait(job) == "failed"
    assert [code for code, _ in failures(server, job)] == [
        FailureCode.DECODE_FAILED,
        FailureCode.MODEL_ERROR,
        FailureCode.SOURCE_TIMEOUT,
    ]


def test_what_may_mend_is_tried_again(server: Server, consumer: Consumer) -> None:
    """A passing failure comes back as a new task, charged with an attempt."""
    job = server.submit([{"number": 1}])
    (task,) = consumer.take()
    failed = {"key": task["records"][0]["key"], "ok": False, "failure": {"code": "SOURCE_TIMEOUT"}}
    consumer.complete(task, [failed])

    (again,) = consumer.take()

    assert tried(server, again) == 1
    consumer.complete(again, doubled(again))
    assert server.wait(job) == "done"
