"""Defects that the original had with requests, their status and their callbacks, and that stay away."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from limner.clock import MovedClock
from limner.domain.jobs import Fate, JobState
from limner.domain.values import Value
from limner.errors import IllegalMove
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.listener import CallbackListener
from tests.systems.antenna.acceptance.contract import check_callback
from tests.systems.antenna.door import ENDED, TOKEN, Door
from tests.systems.antenna.trap import CLASSIFY, DETECT
from tests.waiting import until

OWN = ("CLASSIFICATION", "pale-dark")
LARGE = ("CONDITIONAL_STAGE_SELECTOR", "large-only")
CLEAN = ("CONDITIONAL_STAGE_SELECTOR", "not-debris")


def test_invalid_requests_are_4xx(door: Door) -> None:
    """Whatever is sent to any address of the door, it is never a 500."""
    bodies: list[bytes] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'{"sourceImages": {}}',
        b'{"pipelineConfig": []}',
        b"\xff" * 9,
    ]
    paths = ["/createRequest", "/requests/x/retry", "/requests/x/cancel", "/v1/batches", "/v1/files"]

    statuses = {(path, body): door.client.post(path, content=body).status_code for path in paths for body in bodies}

    assert all(400 <= status < 500 for status in statuses.values()), statuses
    for path in ("/requests/x", "/requests/x/items?after=!", "/requests/x/results?limit=0", "/v1/batches?after=x"):
        assert 400 <= door.client.get(path).status_code < 500, path


def test_callback_token_checked() -> None:
    """The listener that we show as an example accepts no other token, and no body that was not signed."""
    with CallbackListener(token=TOKEN) as listener:
        wrong = httpx.post(listener.url, content=b"{}", headers={"Authorization": "another"})
        unsigned = httpx.post(listener.url, content=b"{}", headers={"Authorization": TOKEN})

    assert (wrong.status_code, unsigned.status_code) == (401, 401)


def test_late_callback_still_delivered(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """A receiver that comes up hours later has the callback all the same."""
    clock = MovedClock()
    door = own_door(clock=clock)
    door.listener.down()
    request = door.create(door.body("late", door.images([small_night[0].name])))
    door.ended(request)

    for tries in range(1, 6):
        until(lambda tries=tries: len(_tries(door, request)) == tries)  # type: ignore[misc]  # bound here
        clock.move(timedelta(minutes=70))
    door.listener.up()
    clock.move(timedelta(hours=7))

    assert door.callbacks(request)[0]["status"] == "COMPLETED"


def test_versions_in_callbacks_are_words(door: Door, small_night: list[TrapFrame]) -> None:
    """Without a model the model's version says so in a word that no reader takes for a missing value."""
    name = small_night[0].name
    request = door.create(door.body("r-version", door.images([name])))

    (document,) = door.callbacks(request)

    check_callback(document, sizes={})
    said = [stage["version"]["modelVersion"] for image in document["data"] for stage in image["stages"]]
    assert set(said) == {"none"}


def test_second_request_costs_nothing_and_calls_back(door: Door, small_night: list[TrapFrame]) -> None:
    """A second request of the same is another request, infers nothing, fetches nothing, and calls back again."""
    names = [frame.name for frame in small_night]
    body = door.body("r-second", door.images(names))
    first = door.run(body)
    asked = door.pictures.total(names)

    second = door.run(body)

    assert second["requestId"] != first["requestId"]
    assert second["status"] == "COMPLETED"
    assert door.pictures.total(names) == asked
    with door.server.host.store.reading() as tx:
        job = tx.jobs.get(second["requestId"])
    assert job.inferred == 0
    one, other = (door.callbacks(ended["requestId"])[0] for ended in (first, second))
    assert [image["detections"] for image in one["data"]] == [image["detections"] for image in other["data"]]


def test_many_requests_with_one_job_id(door: Door, small_night: list[TrapFrame]) -> None:
    """The client's job is no key: each request with it is one of its own."""
    bodies = [{**door.body("r-job", door.images([frame.name])), "jobId": "one"} for frame in small_night]

    requests = {door.create(body) for body in bodies}

    assert len(requests) == len(small_night)
    assert {door.ended(request)["jobId"] for request in requests} == {"one"}


def test_partial_success_kept(door: Door, small_night: list[TrapFrame]) -> None:
    """What succeeded stays, whatever the others did."""
    names = [*(frame.name for frame in small_night), *(f"none-{at}.jpg" for at in range(5))]

    ended = door.run(door.body("r-partial", door.images(names)))

    assert (ended["counts"]["completed"], ended["counts"]["failed"]) == (3, 5)
    assert sum(bool(image["detections"]) for image in door.results(ended["requestId"]).values()) == 3


def test_progress_never_overwritten(door: Door, small_night: list[TrapFrame]) -> None:
    """Seen from outside at any moment, counts add up and never fall, and the end has them all."""
    images = [
        {**one, "id": f"{copy}{one['id']}"}
        for copy in range(3)
        for one in door.images([*(frame.name for frame in small_night), "none.jpg"])
    ]
    request = door.create(door.body("r-progress", images))

    seen = [door.status(request)["counts"]]
    while door.status(request)["status"] not in ENDED:
        seen.append(door.status(request)["counts"])
    seen.append(door.status(request)["counts"])

    ended = [counts["completed"] + counts["failed"] for counts in seen]
    assert ended == sorted(ended)
    assert ended[-1] == len(images)


def test_final_state_is_final(door: Door, small_night: list[TrapFrame]) -> None:
    """What has ended moves nowhere but into a new round."""
    ended = door.run(door.body("r-final", door.images([small_night[0].name])))
    request, store = ended["requestId"], door.server.host.store

    for state in (JobState.CANCELLING, JobState.CANCELLED, JobState.FAILED, JobState.EXPIRED, JobState.WAITING):
        with pytest.raises(IllegalMove), store.transaction() as tx:
            tx.jobs.move(request, state, at=0.0)
    with store.transaction() as tx:
        tx.ledger.settle(request, dict.fromkeys(tx.ledger.fates(request, range(10_000)), Fate.OPEN), only_open=True)

    assert door.status(request)["status"] == "COMPLETED"


def test_config_stored_once_per_job(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """The steps stand with the request, once, and with none of its pictures."""
    door = own_door(own_workers=False)
    images = [{**one, "id": f"{at}"} for at, one in enumerate(50 * door.images([small_night[0].name]))]

    request = door.create(door.body("config", images))

    with door.server.host.store.reading() as tx:
        (page,) = tx.ledger.pages(request)
        fields = [record.values() for record in tx.records.load(list(page)).values()]
        detail = tx.jobs.get(request).detail["antenna"]
    assert [step["asked"] for step in detail["steps"]] == ["blobs", "size-shape"]
    assert len(fields) == 50
    assert not any("size-shape" in str(one) for one in fields)


def test_many_insects_not_cut(door: Door, small_night: list[TrapFrame]) -> None:
    """A picture with 500 boxes has 500 detections in its callback."""
    corners = [(3.0 * (at % 25), 3.0 * (at // 25)) for at in range(500)]
    boxes = [{"x1": x, "y1": y, "x2": x + 20, "y2": y + 20} for x, y in corners]
    images = [{**one, "detections": boxes} for one in door.images([small_night[0].name])]

    request = door.create(door.body("r-many", images))
    (document,) = door.callbacks(request)

    (image,) = document["data"]
    assert len({one["id"] for one in image["detections"]}) == 500
    assert all(one["classifications"] for one in image["detections"])


def test_order_of_steps_is_kept(door: Door, small_night: list[TrapFrame]) -> None:
    """The same steps in another order are another request: a rule binds only what is listed after it."""
    names = [frame.name for frame in small_night]

    behind = door.run(door.body("r-order", door.images(names), [DETECT, CLASSIFY, LARGE, OWN]))
    before = door.run(door.body("r-order", door.images(names), [DETECT, CLASSIFY, OWN, LARGE]))

    fewer, all_of_them = (_labelled(door, ended, by="pale-dark") for ended in (behind, before))
    assert 0 < fewer < all_of_them


def test_every_rule_binds(door: Door, small_night: list[TrapFrame]) -> None:
    """Of two rules listed one after the other both have to let a detection pass."""
    names = [frame.name for frame in small_night]

    one = door.run(door.body("r-rules", door.images(names), [DETECT, CLASSIFY, LARGE, OWN]))
    both = door.run(door.body("r-rules", door.images(names), [DETECT, CLASSIFY, LARGE, CLEAN, OWN]))

    assert _labelled(door, both, by="pale-dark") == _labelled(door, one, by="pale-dark") > 0


def _labelled(door: Door, ended: dict[str, Value], *, by: str) -> int:
    """How many detections of a request have labels of one classifier."""
    detections = [one for image in door.results(ended["requestId"]).values() for one in image["detections"]]
    return sum(by in [said["algorithm"] for said in one["classifications"]] for one in detections)


def _tries(door: Door, request: str) -> list[Value]:
    pages = door.client.get(f"/requests/{request}/callbacks").json()["items"]
    return [one for page in pages for one in page["tries"]]
