"""The open protocol: any client in any language takes tasks and hands results in, over plain HTTP and JSON."""

import gzip
import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import httpx
import msgspec
import pytest

from limner.domain.failures import FailureCode
from limner.domain.jobs import Job
from tests.far.consumer import DOUBLE, Consumer, Said, doubled, each
from tests.far.rig import Server
from tests.pace import allowed


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose own process infers nothing; each test leaves it without open work."""
    with Server(tmp_path_factory.mktemp("server") / "project") as served:
        yield served


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """The server, with records of this test's own, and nothing open after it."""
    yield shared
    with shared.host.store.reading() as tx:
        left = [job.id for job in tx.jobs.open()]
    for job in left:
        shared.host.cancel(job)


@pytest.fixture
def consumer(server: Server) -> Consumer:
    """A consumer that has said hello."""
    made = Consumer(server)
    assert made.hello()["told"] == []
    return made


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


def test_a_key_that_was_not_handed_out_is_told(server: Server, consumer: Consumer) -> None:
    """Results are matched by lease and key; any other key is a problem, and the right ones are committed."""
    job = server.submit([{"number": 1}])
    (task,) = consumer.take()
    wrong = [{"key": key, "ok": True, "value": {"value": 1}} for key in ("", "7", "7-", "7-zz", "999999-00", "x-00")]

    receipt = consumer.complete(task, [*wrong, *doubled(task)])

    assert receipt["state"] == "refused"
    assert len(receipt["problems"]) == 6
    assert server.wait(job) == "done"


def test_a23_what_is_released_is_ready_at_once_and_costs_no_attempt(server: Server, consumer: Consumer) -> None:
    """Another worker is given it within two seconds; nothing is counted against its records."""
    server.submit([{"number": 1}])
    (task,) = consumer.take()
    other = Consumer(server, name="w2")
    other.hello()

    assert consumer.say("tasks:release", {"leases": [consumer.lease(task)], "reason": "walltime"}) == {"released": 1}
    began = time.monotonic()
    (again,) = other.take()

    assert time.monotonic() - began < allowed(2)
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


def test_a_question_waits_for_a_task(server: Server, consumer: Consumer) -> None:
    """A long poll ends with the task that comes, and empty when its time is over."""
    began = time.monotonic()
    assert consumer.take(wait_s=0.4) == []
    assert 0.3 < time.monotonic() - began < allowed(5)

    found: list[Said] = []
    asking = threading.Thread(target=lambda: found.extend(consumer.take(wait_s=20)))
    asking.start()
    began = time.monotonic()
    server.submit([{"number": 1}])
    asking.join()

    assert len(found) == 1
    assert time.monotonic() - began < allowed(10)


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


def failures(server: Server, job: Job) -> list[tuple[FailureCode, int]]:
    """Code and attempts of the failed records of a job, in order."""
    with server.host.store.reading() as tx:
        records = sorted(key for page in tx.ledger.pages(job.id) for key in page)
        rows = tx.results.failed(versions=actives(server), span=(records[0], records[-1]), limit=1000)
        return [(failure.code, tried) for _, _, _, tried, failure in rows]


def actives(server: Server) -> dict[int, int]:
    """The active version of each node."""
    with server.host.store.reading() as tx:
        return {node.pk: node.active for node in tx.nodes.all() if node.active is not None}


def active(server: Server) -> str:
    """The digest of the version that is served."""
    (found,) = server.get("work/implementations").json()["implementations"]
    digest: str = found["version"]["digest"]
    return digest


def tried(server: Server, task: Said) -> int:
    """Attempts that the records of a task were charged with before."""
    with server.host.store.reading() as tx:
        return tx.tasks.load([task["task_id"]])[task["task_id"]].tried
