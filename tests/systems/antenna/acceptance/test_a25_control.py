"""A25, A26, A27: a request is cancelled, tried again, or expires; what was done stays."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from limner.clock import MovedClock
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.listener import CallbackListener
from limner.testing.picture_server import PictureServer, Reply
from tests.systems.antenna.door import Door, door_over, served_as_files
from tests.waiting import until

#: Longer than any test waits, and within the time limit of a fetch.
SLOW = Reply(delay=timedelta(seconds=25))


@pytest.fixture
def night_server(small_night: list[TrapFrame]) -> Iterator[PictureServer]:
    """The night on a server of its own, whose answers a test may spoil."""
    with PictureServer(served_as_files(small_night)) as server:
        yield server


@pytest.fixture
def clock() -> MovedClock:
    """A clock that a test moves."""
    return MovedClock()


@pytest.fixture
def half_done(
    trap_folder: Path,
    night_server: PictureServer,
    own_listener: CallbackListener,
    small_night: list[TrapFrame],
    clock: MovedClock,
) -> Iterator[tuple[Door, str]]:
    """A request for two pictures of which one is done and one hangs."""
    done, hangs = (frame.name for frame in small_night[:2])
    with door_over(trap_folder, night_server, own_listener, clock=clock) as door:
        door.run(door.body("half", door.images([done]), callback=False))
        night_server.plan(hangs, SLOW)
        request = door.create(door.body("half", door.images([done, hangs]), completionWindow="5s"))
        until(lambda: door.status(request)["counts"]["completed"] == 1)
        yield door, request


def test_cancel_keeps_what_is_done(half_done: tuple[Door, str], small_night: list[TrapFrame]) -> None:
    """Cancelled at once; the done picture stays, the other is told as cancelled, everywhere alike."""
    door, request = half_done

    answer = door.client.post(f"/requests/{request}/cancel")

    ended = door.ended(request)
    assert answer.status_code == 202
    assert ended["status"] == "CANCELLED"
    assert (ended["counts"]["completed"], ended["counts"]["cancelled"]) == (1, 1)
    (document,) = door.callbacks(request)
    told = {image["sourceImageId"]: image for image in document["data"]}
    assert document["status"] == "CANCELLED"
    assert told[small_night[0].name]["detections"]
    assert told[small_night[1].name]["status"] == "CANCELLED"
    assert told[small_night[1].name]["error"]["code"] == "CANCELLED"


def test_what_ended_cannot_be_cancelled(door: Door, small_night: list[TrapFrame]) -> None:
    """409, with the name of the state."""
    ended = door.run(door.body("a25-ended", door.images([small_night[0].name])))

    answer = door.client.post(f"/requests/{ended['requestId']}/cancel")

    assert answer.status_code == 409
    assert "COMPLETED" in answer.json()["detail"]


def test_expires_with_what_is_done(
    half_done: tuple[Door, str], small_night: list[TrapFrame], clock: MovedClock
) -> None:
    """When the completion window is over: EXPIRED, results of what is done, an error file with the rest."""
    door, request = half_done

    clock.move(timedelta(seconds=6))
    ended = door.ended(request)

    assert ended["status"] == "EXPIRED"
    assert (ended["counts"]["completed"], ended["counts"]["expired"]) == (1, 1)
    assert door.results(request)[small_night[0].name]["status"] == "COMPLETED"
    (line,) = door.client.get(f"/requests/{request}/errors").text.splitlines()
    assert '"code":"EXPIRED"' in line
    (document,) = door.callbacks(request)
    assert document["status"] == "EXPIRED"


def test_retry_runs_only_what_failed(
    trap_folder: Path, night_server: PictureServer, own_listener: CallbackListener, small_night: list[TrapFrame]
) -> None:
    """With its source repaired only the failed picture is done, in a new round; the history stays."""
    # given
    good, bad = (frame.name for frame in small_night[:2])
    night_server.plan(bad, Reply(status=404))
    with door_over(trap_folder, night_server, own_listener) as door:
        request = door.create(door.body("again", door.images([good, bad])))
        first = door.ended(request)
        door.callbacks(request)
        early = door.client.post(f"/requests/{request}/retry", json={"only": ["DECODE_FAILED"]})
        unknown = door.client.post(f"/requests/{request}/retry", json={"only": ["NO_SUCH_CODE"]})
        night_server.plan(bad)
        asked = night_server.requests[good]

        # when
        answer = door.client.post(f"/requests/{request}/retry", json={"only": "failed"})
        until(lambda: door.status(request)["status"] == "COMPLETED")

        # then
        assert first["failuresByCode"] == {"SOURCE_NOT_FOUND": 1}
        assert (early.status_code, unknown.status_code, answer.status_code) == (409, 422, 202)
        assert "COMPLETED_WITH_FAILURES" in early.json()["detail"]
        assert night_server.requests[good] == asked
        found = door.status(request)
        assert (found["round"], found["failuresByCode"]) == (2, {})
        kinds = [event["kind"] for event in door.client.get(f"/requests/{request}/events").json()["items"]]
        assert kinds.count("running") == 2
        assert len(door.callbacks(request, count=2)) == 2
