"""Bodies in the open protocol: JSON or MessagePack, compressed or not, and what is said of those that do not fit."""

import gzip
import json

import httpx
import msgspec
import pytest

from tests.far.consumer import DOUBLE, Consumer, Said, doubled
from tests.far.rig import Server


def test_msgpack_has_the_same_shapes(server: Server, consumer: Consumer) -> None:
    """What JSON says, MessagePack says too, by Content-Type and Accept."""
    job = server.submit([{"number": 21}])
    kinds = {"Content-Type": "application/msgpack", "Accept": "application/msgpack"}

    def post(path: str, body: object) -> Said:
        packed = msgspec.msgpack.encode(body)
        answer = httpx.post(f"{server.url}/api/v1/{path}", content=packed, headers=kinds, timeout=60)
        assert answer.headers["content-type"] == "application/msgpack"
        found: Said = msgspec.msgpack.decode(answer.content)
        return found

    (task,) = post("tasks:take", {"worker_id": "w1", "serves": [DOUBLE], "wait_s": 10})["tasks"]
    answer = {"task_id": task["task_id"], "token": task["lease"]["token"], "results": doubled(task)}
    (receipt,) = post("tasks:complete", {"worker_id": "w1", "answers": [answer]})["tasks"]

    assert receipt["state"] == "committed"
    assert server.wait(job) == "done"


def test_a17_a_body_that_is_too_large_is_refused_by_name(server: Server) -> None:
    """413 names max_body_bytes, for what is large, for what unpacks to it, and before it is read to its end."""
    large = json.dumps({"worker_id": "w1", "answers": [], "pad": "x" * 11_000_000}).encode()

    for body, headers in ((large, {}), (gzip.compress(large), {"Content-Encoding": "gzip"})):
        answer = httpx.post(f"{server.url}/api/v1/tasks:complete", content=body, headers=headers, timeout=60)
        assert answer.status_code == 413
        assert "10000000 bytes (max_body_bytes)" in answer.json()["detail"]
        assert answer.headers["limner-max-body-bytes"] == "10000000"


def test_a_compressed_body_is_unpacked(server: Server, consumer: Consumer) -> None:
    """What came by gzip is as good as what did not; what claims to and did not is refused."""
    job = server.submit([{"number": 1}])
    (task,) = consumer.take()
    answer = {"task_id": task["task_id"], "token": task["lease"]["token"], "results": doubled(task)}
    body = json.dumps({"worker_id": "w1", "answers": [answer]}).encode()
    place, packed = f"{server.url}/api/v1/tasks:complete", {"Content-Encoding": "gzip"}

    assert httpx.post(place, content=body, headers=packed).status_code == 400
    assert httpx.post(place, content=gzip.compress(body)[:-9], headers=packed).status_code == 400
    assert httpx.post(place, content=body, headers={"Content-Encoding": "br"}).status_code == 415
    assert httpx.post(place, content=gzip.compress(body), headers=packed).status_code == 200
    assert server.wait(job) == "done"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("workers:hello", {}, "worker_id"),
        ("workers:hello", {"worker_id": "w", "serves": [{"stage": "s"}]}, "serves[0]"),
        ("workers:hello", {"worker_id": ""}, "worker_id"),
        ("workers:hello", {"worker_id": "w", "serves": [{"stage": "s", "implementation": "i"}] * 1001}, "serves"),
        ("tasks:take", {"worker_id": "w1", "serves": "double"}, "serves"),
        ("tasks:take", {"worker_id": "w1", "serves": [], "wait_s": "long"}, "wait_s"),
        ("tasks:extend", {"worker_id": "w1", "leases": [{"task_id": "x", "token": ""}]}, "leases[0].task_id"),
        ("tasks:complete", {"worker_id": "w1"}, "answers"),
        ("tasks:release", {"worker_id": "w1", "leases": None}, "leases"),
        ("workers:heartbeat", {"worker_id": "w1", "busy": ["x"]}, "busy[0]"),
    ],
)
def test_what_is_wrong_is_named(server: Server, path: str, body: Said, field: str) -> None:
    """A request that does not fit is answered 422, and the field is named."""
    answer = server.post(path, body)

    assert answer.status_code == 422
    problem = answer.json()
    assert field in problem["detail"] or any(field in e["message"] or field in e["field"] for e in problem["errors"])


def test_what_is_no_json_is_told(server: Server) -> None:
    """Malformed JSON is 400, another type 415; never a 500."""
    place = f"{server.url}/api/v1/tasks:take"

    for body in (b"{", b"\xff\xfe", b"[" * 100_000):
        assert httpx.post(place, content=body, headers={"Content-Type": "application/json"}).status_code in (400, 422)
    assert httpx.post(place, content=b"a=b", headers={"Content-Type": "text/plain"}).status_code == 415
