"""A36: insects are followed through an event, whatever the order in which its frames come."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from limner.domain.values import Value, decode
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.listener import CallbackListener
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.acceptance.fixtures import local_request
from tests.systems.antenna.door import Door, door_over
from tests.systems.antenna.trap import CLASSIFY, DETECT, FEATURES, TRACK, new_project

STAGES = [DETECT, CLASSIFY, FEATURES, TRACK]


def test_same_tracks_in_any_order(door: Door, small_night: list[TrapFrame]) -> None:
    """Once all frames are final the tracker runs once; shuffled frames give the same tracks."""
    names = [frame.name for frame in small_night]

    one = door.run(door.body("a36", door.images(names, event="one"), STAGES))
    other = door.run(door.body("a36", door.images([names[2], names[0], names[1]], event="other"), STAGES))

    first, second = (_tracks(door, ended) for ended in (one, other))
    assert first == second
    assert any(len(boxes) > 1 for boxes in first)
    (ran,) = (stage for stage in one["stages"] if stage["stage"] == "TRACKING")
    assert ran["counts"]["completed"] == 1


def test_a_failed_frame_is_named(door: Door, small_night: list[TrapFrame]) -> None:
    """A frame that fails holds nothing up, and the event says that it is missing."""
    names = [small_night[0].name, "none.jpg", small_night[2].name]

    ended = door.run(door.body("a36-gap", door.images(names), STAGES))

    assert ended["status"] == "COMPLETED_WITH_FAILURES"
    value = _event(door, "a36-gap:night")
    assert value["missing_frames"] == ["a36-gap:none.jpg"]
    assert sum(len(boxes) for boxes in _tracks(door, ended)) > 0


def test_features_are_never_behind_a_condition(door: Door, small_night: list[TrapFrame]) -> None:
    """Where tracks are asked for, every detection has its vector, whatever a rule says of it."""
    condition = ("CONDITIONAL_STAGE_SELECTOR", "large-only")
    name = small_night[0].name

    ended = door.run(door.body("a36-rule", door.images([name]), [DETECT, CLASSIFY, condition, FEATURES, TRACK]))

    detections = door.results(ended["requestId"])[name]["detections"]
    assert detections
    assert all(one["cnnFeatures"] and one["trackId"] for one in detections)


@pytest.mark.real_data
def test_real_night(shared_data: Path, tmp_path: Path) -> None:
    """Request 04 over five real frames: at least 45 of 50 links, at most 2 wrong; recall of the boxes besides."""
    folder = shared_data / "antenna"
    with (
        PictureServer(folder) as pictures,
        CallbackListener(token="fixture-callback-token") as listener,
        door_over(new_project(tmp_path / "trap"), pictures, listener) as door,
    ):
        name = "04_create_request.sequential_features_tracking.json"
        ended = door.run(local_request(folder, name, pictures, listener))
        results = door.results(ended["requestId"])
    assert ended["status"] == "COMPLETED"
    found = {
        image["sourceImageUrl"].rpartition("/")[2]: [
            {**one["boundingBox"], "track": one["trackId"]} for one in image["detections"]
        ]
        for image in results.values()
    }
    (tmp_path / "found.json").write_text(json.dumps(found), encoding="utf-8")
    command = [
        sys.executable,
        str(folder / "score.py"),
        str(folder / "truth" / "boxes.json"),
        str(tmp_path / "found.json"),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    links, wrong = told.splitlines()[-1].removeprefix("links ").split("/50   wrong links ")
    assert int(links) >= 45, told
    assert int(wrong) <= 2, told


def _tracks(door: Door, ended: dict[str, Value]) -> set[frozenset[tuple[object, ...]]]:
    """The tracks of a request as sets of pictures and boxes: ids differ from event to event."""
    found: dict[str, set[tuple[object, ...]]] = {}
    for name, image in door.results(ended["requestId"]).items():
        for one in image["detections"]:
            found.setdefault(one["trackId"], set()).add((name, *one["boundingBox"].values()))
    return {frozenset(boxes) for boxes in found.values()}


def _event(door: Door, identity: str) -> dict[str, Value]:
    """What the tracker said of an event."""
    host = door.server.host
    with host.store.reading() as tx:
        collection = tx.records.find_collection("events")
        assert collection is not None
        (key,) = tx.records.keys(collection, [identity]).values()
        value: dict[str, Value] = decode(tx.results.of_record(key)[-1].value)
    return value
