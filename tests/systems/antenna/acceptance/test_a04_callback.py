"""A4, A5: the callback is faithful to the contract, carries the token, and cannot be altered unseen."""

from collections.abc import Callable

from limner.systems.antenna.callback import split
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.listener import verify
from tests.systems.antenna.acceptance.contract import check_callback
from tests.systems.antenna.conftest import SMALL
from tests.systems.antenna.door import TOKEN, Door
from tests.systems.antenna.trap import CLASSIFY, CROP, DETECT, FEATURES, TRACK

EVERYTHING = [DETECT, CROP, CLASSIFY, FEATURES, TRACK]


def test_one_entry_for_each_picture(door: Door, small_night: list[TrapFrame]) -> None:
    """Everything that was asked for is in it, in the form of the contract."""
    # given
    names = [frame.name for frame in small_night]

    # when
    request = door.create(door.body("a04", door.images(names), EVERYTHING))
    (document,) = door.callbacks(request)

    # then
    check_callback(document, sizes=dict.fromkeys(names, SMALL))
    assert document["jobId"] == "job of a04"
    assert document["status"] == "COMPLETED"
    assert document["page"] == {"n": 1, "of": 1}
    assert [image["sourceImageId"] for image in document["data"]] == names
    detections = [one for image in document["data"] for one in image["detections"]]
    assert len(detections) >= len(names)
    assert all(one["cropUrl"] and one["cnnFeatures"] and one["trackId"] for one in detections)
    assert all(len(one["classifications"]) == 1 for one in detections)


def test_strict_leaves_out_what_was_added(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """With strict only the original fields are there; top_k bounds the labels."""
    door = own_door(systems={"antenna": {"strict": True, "top_k": 2}})
    name = small_night[0].name

    request = door.create(door.body("strict", door.images([name], event=None)))
    (document,) = door.callbacks(request)

    check_callback(document, sizes={name: SMALL}, strict=True)
    (image,) = document["data"]
    assert image["eventId"] is None
    assert {len(one["classifications"][0]["scores"]) for one in image["detections"]} == {2}


def test_token_and_signature(door: Door, small_night: list[TrapFrame]) -> None:
    """`Authorization` is the callback's token; one byte altered, and the signature does not stand."""
    request = door.create(door.body("a05", door.images([small_night[0].name])))
    door.callbacks(request)
    received = next(one for one in door.listener.accepted if one.document["pipelineRequestId"] == request)

    assert received.headers["authorization"] == TOKEN
    assert received.problems == []
    flipped = received.body.replace(b"jobId", b"jobIe", 1)
    assert verify(received.headers, received.body, secret=TOKEN)
    assert not verify(received.headers, flipped, secret=TOKEN)


def test_streams_as_pictures_finish(door: Door, small_night: list[TrapFrame]) -> None:
    """In mode stream every picture is told once, and the last callback says how it ended."""
    names = [frame.name for frame in small_night]
    body = door.body("a04-stream", door.images(names))
    body["callback"]["mode"] = "stream"

    request = door.create(body)
    door.ended(request)
    documents = door.callbacks(request)

    assert sorted(image["sourceImageId"] for one in documents for image in one["data"]) == sorted(names)


def test_many_pictures_come_in_pages(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """Bodies stay below the limit; together the pages hold every picture once, and nothing is cut."""
    door = own_door(callback_max_bytes=9000)
    images = [{**one, "id": f"{at}"} for at, one in enumerate(door.images(3 * [frame.name for frame in small_night]))]

    request = door.create(door.body("pages", images))
    ended = door.ended(request)
    pages = door.callbacks(request, count=2)
    first = pages[0]["page"]["of"]
    pages = door.callbacks(request, count=first)

    assert ended["status"] == "COMPLETED"
    assert sorted(page["page"]["n"] for page in pages) == list(range(1, first + 1))
    told = [image["sourceImageId"] for page in pages for image in page["data"]]
    assert sorted(set(told)) == sorted(one["id"] for one in images)
    whole = door.results(request)
    for identity in set(told):
        parts = [image for page in pages for image in page["data"] if image["sourceImageId"] == identity]
        found = sorted(detection["id"] for part in parts for detection in part["detections"])
        assert found == sorted(detection["id"] for detection in whole[identity]["detections"])
    assert all(len(one.body) <= 9000 for one in door.listener.accepted)


def test_one_huge_picture_is_split() -> None:
    """Its detections are spread over bodies below the limit; none is lost, none stands twice."""
    detections = [{"id": str(number), "text": "x" * 500} for number in range(200)]
    image = {"sourceImageId": "a", "stages": [], "detections": detections, "status": "COMPLETED"}
    whole = {"jobId": "j", "pipelineRequestId": "r", "page": None, "data": [image]}

    bodies = split(whole, 8000)

    assert len(bodies) > 10
    assert [one for body in bodies for part in body["data"] for one in part["detections"]] == detections
    assert {part["sourceImageId"] for body in bodies for part in body["data"]} == {"a"}
