"""A7, A8: status tells where a request stands, item by item, at any size, and why it waits."""

from collections.abc import Callable
from datetime import timedelta
from time import perf_counter

import pytest

from limner.app.submitting import Submission
from limner.clock import MovedClock
from limner.domain.records import RecordIn
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.systems.antenna.wire_stages import Step, choices_of
from tests.systems.antenna.door import ENDED, Door
from tests.waiting import until

ORDER = ["WAITING", "PROCESSING", "COMPLETED"]


def test_from_waiting_to_completed(door: Door, small_night: list[TrapFrame]) -> None:
    """The states come in their order, and progress never falls."""
    images = [
        {**one, "id": f"{one['id']} {copy}"}
        for copy in range(2)
        for one in door.images(frame.name for frame in small_night)
    ]
    request = door.create(door.body("a07", images))

    seen = [door.status(request)]
    while seen[-1]["status"] not in ENDED:
        seen.append(door.status(request))

    places = [ORDER.index(one["status"]) for one in seen]
    done = [int(one["progress"].partition("/")[0]) for one in seen]
    assert places == sorted(places)
    assert done == sorted(done)
    assert seen[-1]["progress"] == "6/6"
    assert seen[-1]["counts"]["completed"] == 6
    assert seen[-1]["startedAt"] <= seen[-1]["finishedAt"]


def test_items_tell_each_step(door: Door, small_night: list[TrapFrame]) -> None:
    """Each picture with each step; a missing one fails in the first, by its code."""
    images = door.images([small_night[0].name, "none.jpg"])

    request = door.create(door.body("a07-items", images))
    ended = door.ended(request)
    items = door.items(request)

    assert ended["failuresByCode"] == {"SOURCE_NOT_FOUND": 1}
    good, bad = items[small_night[0].name], items["none.jpg"]
    assert [(one["stage"], one["status"]) for one in good["stages"]] == [
        ("OBJECT_DETECTION", "COMPLETED"),
        ("CLASSIFICATION", "COMPLETED"),
    ]
    assert good["error"] is None
    assert bad["status"] == "FAILED"
    assert set(bad["error"]) == {"code", "message", "stage", "implementation", "attempt", "worker", "retryable"}
    assert (bad["error"]["stage"], bad["error"]["implementation"]) == ("OBJECT_DETECTION", "blobs")


def test_items_by_status(door: Door, small_night: list[TrapFrame]) -> None:
    """Only those in a state, if asked."""
    request = door.create(door.body("a07-by", door.images([small_night[0].name, "none.jpg"])))
    door.ended(request)

    page = door.client.get(f"/requests/{request}/items", params={"status": "FAILED"}).json()

    assert [item["sourceImageId"] for item in page["items"]] == ["none.jpg"]


def test_logs_are_status_and_items(door: Door, small_night: list[TrapFrame]) -> None:
    """The older address tells both together."""
    request = door.create(door.body("a07-logs", door.images([small_night[0].name])))
    door.ended(request)

    logs = door.client.get("/status-controller/getRequestLogs", params={"requestId": request}).json()

    assert logs["items"] == list(door.items(request).values())
    assert {name: logs[name] for name in ("requestId", "status", "counts")} == {
        name: door.status(request)[name] for name in ("requestId", "status", "counts")
    }


def test_links_lead_somewhere(door: Door, small_night: list[TrapFrame]) -> None:
    """Every address in it that is read answers."""
    request = door.create(door.body("a07-links", door.images([small_night[0].name])))
    links = door.ended(request)["links"]

    for name in ("self", "items", "results", "errors", "callbacks", "events"):
        assert door.client.get(links[name]).status_code == 200, name


def test_says_why_it_waits(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """Without a worker it waits, and says for which; its pictures wait too."""
    door = own_door(own_workers=False)

    request = door.create(door.body("waits", door.images([small_night[0].name])))
    found = door.status(request)

    assert found["status"] == "WAITING"
    assert found["counts"]["waiting"] == 1
    assert found["waitingReason"] == "no live worker for detect/blobs (never seen)"
    (item,) = door.items(request).values()
    assert item["status"] == "WAITING"


def test_waits_until_somebody_comes(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """What nobody took is waiting still after its lease ran out, however often."""
    clock = MovedClock()
    door = own_door(own_workers=False, clock=clock)
    request = door.create(door.body("lapses", door.images([small_night[0].name])))

    for _ in range(3):
        ends = _leases(door, request)
        clock.move(timedelta(minutes=2))
        until(lambda ends=ends: _leases(door, request) != ends)  # type: ignore[misc]  # bound here
        assert door.status(request)["status"] == "WAITING"


def _leases(door: Door, request: str) -> list[float | None]:
    with door.server.host.store.reading() as tx:
        return [task.lease_until for task in tx.tasks.open_of(job=request)]


@pytest.mark.slow
def test_status_of_many_is_fast(own_door: Callable[..., Door]) -> None:
    """At 100,000 pictures a look takes less than 50 ms, on the server's side and ours together."""
    # given
    door = own_door(own_workers=False)
    host = door.server.host
    step = Step(stage="OBJECT_DETECTION", implementation="blobs", asked="blobs")
    fields = {"project_id": "many", "image_url": "http://127.0.0.1/x.jpg"}
    rows = [
        RecordIn(collection="captures", id=f"many:{n}", fields={**fields, "source_id": str(n), "index": n})
        for n in range(100_000)
    ]
    pipeline = host.pipeline("antenna")
    # Without what the server does itself, whose pace is not what is measured here.
    choices = {**choices_of([step], pipeline, given=False), "header": []}
    job = host.submit(Submission(pipeline="antenna", rows=rows, choices=choices))
    while door.status(job.id)["counts"]["total"] < len(rows):
        assert door.status(job.id)["status"] == "WAITING"

    # when
    taken = []
    for _ in range(20):
        began = perf_counter()
        found = door.status(job.id)
        taken.append(perf_counter() - began)

    # then
    assert found["progress"] == "0/100000"
    assert min(taken) < 0.05
