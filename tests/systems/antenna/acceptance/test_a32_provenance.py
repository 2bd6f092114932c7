"""A32, A33, A34, A37, A38: where values came from, what runs again, and what is left out."""

import hashlib
import io
from collections.abc import Callable

import numpy as np

from limner.domain.values import Value
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.door import Door
from tests.systems.antenna.trap import CLASSIFY, CROP, DETECT, FEATURES, edit

OWN = ("CLASSIFICATION", "pale-dark")


def test_every_value_says_where_it_came_from(door: Door, small_night: list[TrapFrame]) -> None:
    """Of one detection: version, worker, attempt and times of label and vector; of its picture those of the box."""
    name = small_night[0].name
    ended = door.run(door.body("a32", door.images([name]), [DETECT, CLASSIFY, FEATURES]))
    detection = door.results(ended["requestId"])[name]["detections"][0]

    app = door.server.host.app
    said = app.why("detections", detection["id"]).origins + app.why("captures", f"a32:{name}").origins

    by_stage = {one.stage: one for one in said}
    assert {"detect", "classify", "features"} <= set(by_stage)
    for stage, way in (("detect", "blobs"), ("classify", "size-shape"), ("features", "colour-histogram")):
        assert by_stage[stage].implementation == way
        assert by_stage[stage].version
        assert by_stage[stage].worker
        assert by_stage[stage].attempts == 1


def test_a_new_classifier_runs_alone(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """Another version of the classifier: only it runs, the detector is not called; the old value stays readable."""
    # given
    door = own_door()
    name, stages = small_night[0].name, [DETECT, OWN]
    first = door.run(door.body("a33", door.images([name]), stages))
    folder = door.server.projects.project.folder

    # when
    edit(folder / "inferrers" / "pale_dark.py", 'version = "1"', 'version = "2"')
    door.server.host.refresh()
    second = door.run(door.body("a33", door.images([name]), stages))

    # then
    ran = {stage["stage"]: stage["counts"]["completed"] for stage in second["stages"]}
    before, after = (door.results(one["requestId"])[name] for one in (first, second))
    assert ran["OBJECT_DETECTION"] == 0
    assert ran["CLASSIFICATION"] == len(after["detections"]) > 0
    assert [one["id"] for one in before["detections"]] == [one["id"] for one in after["detections"]]
    versions = {stage["version"]["algorithm"]: stage["version"]["apiVersion"] for stage in after["stages"]}
    assert versions == {"blobs": "1", "pale-dark": "2"}
    with door.server.host.store.reading() as tx:
        collection = tx.records.find_collection("detections")
        assert collection is not None
        (key,) = tx.records.keys(collection, [after["detections"][0]["id"]]).values()
        assert len({result.version for result in tx.results.of_record(key)}) == 2


def test_given_boxes_need_no_detector(door: Door, small_night: list[TrapFrame]) -> None:
    """Boxes that come along are used as they are, in whole pixels; labels are attached; no detector is called."""
    boxes = [{"x1": 10.4, "y1": 20.6, "x2": 60.2, "y2": 70.0}, {"x1": 100.0, "y1": 100.0, "x2": 150.0, "y2": 160.0}]
    name = small_night[0].name
    images = [{**one, "detections": boxes} for one in door.images([name])]

    ended = door.run(door.body("a34", images))

    image = door.results(ended["requestId"])[name]
    found = sorted((one["boundingBox"] for one in image["detections"]), key=lambda box: box["x1"])
    assert found == [{"x1": 10, "y1": 20, "x2": 61, "y2": 70}, {"x1": 100, "y1": 100, "x2": 150, "y2": 160}]
    assert all(one["classifications"] for one in image["detections"])
    assert {one["version"]["algorithm"] for one in image["detections"]} == {"given"}
    ran = {stage["implementation"]: stage["counts"]["completed"] for stage in ended["stages"]}
    assert ran["given"] == 1
    assert ran["blobs"] == 0


def test_given_boxes_beside_others(door: Door, small_night: list[TrapFrame]) -> None:
    """In one request some pictures have boxes and others have not; with all given no detector need be listed."""
    box = [{"x1": 10.0, "y1": 10.0, "x2": 90.0, "y2": 90.0}]
    given, found = ({**one} for one in door.images(frame.name for frame in small_night[:2]))
    given["detections"] = box

    mixed = door.run(door.body("a34-mixed", [given, found]))
    alone = door.run(door.body("a34-alone", [given], [CLASSIFY]))
    without = door.client.post("/createRequest", json=door.body("a34-none", [given, found], [CLASSIFY]))

    makers = {
        name: {one["version"]["algorithm"] for one in image["detections"]}
        for name, image in door.results(mixed["requestId"]).items()
    }
    assert makers == {given["id"]: {"given"}, found["id"]: {"blobs"}}
    assert alone["status"] == "COMPLETED"
    assert without.status_code == 422


def test_a_condition_skips_the_rest(door: Door, small_night: list[TrapFrame]) -> None:
    """Only large things are seen by the second classifier; the others are skipped with the reason, and sums fit."""
    condition = ("CONDITIONAL_STAGE_SELECTOR", "large-only")
    names = [frame.name for frame in small_night]

    ended = door.run(door.body("a37", door.images(names), [DETECT, CLASSIFY, condition, OWN]))

    detections = [one for image in door.results(ended["requestId"]).values() for one in image["detections"]]
    for one in detections:
        makers = [said["algorithm"] for said in one["classifications"]]
        large = one["classifications"][0]["labelNames"][0] == "large"
        assert makers == (["size-shape", "pale-dark"] if large else ["size-shape"])
    assert {len(one["classifications"]) for one in detections} == {1, 2}
    large = sum(len(one["classifications"]) == 2 for one in detections)
    ran = {stage["implementation"]: stage["counts"] for stage in ended["stages"]}
    assert ran["pale-dark"]["completed"] == large
    open_ = {item["status"] for item in door.items(ended["requestId"]).values()}
    assert open_ == {"COMPLETED"}


def test_crops_and_vectors_can_be_fetched(door: Door, small_night: list[TrapFrame]) -> None:
    """Without a token, by signed links; the bytes have the digest in the address. Unasked, no crop is made."""
    name = small_night[1].name
    ended = door.run(door.body("a38", door.images([name]), [DETECT, CROP, FEATURES]))
    plain = door.run(door.body("a38-none", door.images([name]), [DETECT, CLASSIFY]))

    for one in door.results(ended["requestId"])[name]["detections"]:
        crop, vector = (door.client.get(url) for url in (one["cropUrl"], one["cnnFeatures"]["url"]))
        assert _named(one["cropUrl"]) == hashlib.sha256(crop.content).hexdigest()
        assert _named(one["cnnFeatures"]["url"]) == hashlib.sha256(vector.content).hexdigest()
        assert crop.headers["content-type"] == "image/jpeg"
        assert np.load(io.BytesIO(vector.content)).shape == (216,)
    forged = one["cropUrl"].replace("expires=", "expires=9")
    assert door.client.get(forged).status_code == 401
    others = door.results(plain["requestId"])[name]["detections"]
    assert all(one["cropUrl"] is None and one["cnnFeatures"] is None for one in others)


def _named(url: Value) -> str:
    return str(url).partition("?")[0].rpartition("/")[2]
