"""A6: a callback that is missed costs nothing: it waits, is tried again, can be sent anew, and GET works all along."""

from collections.abc import Callable
from datetime import timedelta

from limner.clock import MovedClock
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.door import Door
from tests.waiting import until


def test_down_then_failing_then_up(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """Down for two minutes, 500 twice, then up: delivered once; then sent again on demand, with the same id."""
    # given
    clock = MovedClock()
    door = own_door(clock=clock)
    door.listener.down()
    request = door.create(door.body("missed", door.images([small_night[0].name])))
    ended = door.ended(request)

    # when: nobody listens
    until(lambda: len(_tries(door, request)) == 1)
    waiting = _callback(door, request)
    clock.move(timedelta(seconds=6))
    until(lambda: len(_tries(door, request)) == 2)
    # and then somebody who is not well
    door.listener.up()
    door.listener.answer(500, 500)
    for wait, tries in ((timedelta(seconds=34), 3), (timedelta(minutes=2.3), 4)):
        clock.move(wait)
        until(lambda tries=tries: len(_tries(door, request)) == tries)  # type: ignore[misc]  # bound here
    failing = _callback(door, request)
    clock.move(timedelta(minutes=11))
    door.callbacks(request)
    until(lambda: _callback(door, request)["state"] == "delivered")

    # then
    assert ended["status"] == "COMPLETED"
    assert (waiting["state"], waiting["tries"]) == ("pending", 1)
    assert waiting["nextTryAt"] is not None
    assert (failing["state"], failing["lastStatus"]) == ("pending", 500)
    assert len(door.results(request)) == 1
    assert len(_tries(door, request)) == 5

    # when
    again = door.client.post(f"/requests/{request}/redeliver")
    door.callbacks(request, count=2)

    # then
    assert again.status_code == 202
    first, second = door.listener.accepted
    assert (first.body, first.webhook_id) == (second.body, second.webhook_id)


def test_no_callback_is_nothing_to_send(door: Door, small_night: list[TrapFrame]) -> None:
    """Whoever asked for none can poll; to send it again is refused with the state's name."""
    body = door.body("a06-poll", door.images([small_night[0].name]), callback=False)
    ended = door.run(body)

    answer = door.client.post(f"/requests/{ended['requestId']}/redeliver")

    assert ended["callback"] == {"state": "none", "tries": 0, "lastStatus": None, "nextTryAt": None}
    assert answer.status_code == 409
    assert "COMPLETED" in answer.json()["detail"]


def _callback(door: Door, request: str) -> dict[str, object]:
    found = door.status(request)["callback"]
    assert isinstance(found, dict)
    return found


def _tries(door: Door, request: str) -> list[object]:
    pages = door.client.get(f"/requests/{request}/callbacks").json()["items"]
    return [one for page in pages for one in page["tries"]]
