"""A2: what is wrong with a request is told with the path of the field, and nothing is queued."""

from collections.abc import Callable

import pytest

from limner.domain.values import Value
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.door import Door

Change = Callable[[dict[str, Value]], None]


def _set(*path: str | int, to: Value) -> Change:
    def change(body: dict[str, Value]) -> None:
        place: Value = body
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


def _drop(name: str) -> Change:
    return lambda body: body.pop(name) and None


STAGES = ("pipelineConfig", "stages")
CASES: dict[str, tuple[Change, str]] = {
    "no project": (_drop("projectId"), "projectId"),
    "a project that cannot be": (_set("projectId", to="a b"), "projectId"),
    "a project too long": (_set("projectId", to="a" * 65), "projectId"),
    "no job": (_drop("jobId"), "jobId"),
    "no pictures": (_drop("sourceImages"), "sourceImages"),
    "an empty list": (_set("sourceImages", to=[]), "sourceImages"),
    "pictures twice over": (_set("sourceImagesUrl", to="http://127.0.0.1/list"), "sourceImagesUrl"),
    "a picture without address": (_set("sourceImages", 0, to={"id": "a"}), "sourceImages[0].url"),
    "an id that is a number": (_set("sourceImages", 1, "id", to=7), "sourceImages[1].id"),
    "two pictures with one id": (lambda b: b["sourceImages"].append(b["sourceImages"][0]), "sourceImages[2].id"),
    "a time that is none": (_set("sourceImages", 0, "takenAt", to="yesterday"), "sourceImages[0].takenAt"),
    "a box inside out": (
        _set("sourceImages", 0, "detections", to=[{"x1": 9, "y1": 0, "x2": 3, "y2": 4}]),
        "sourceImages[0].detections[0]",
    ),
    "no steps": (_set("pipelineConfig", to={"stages": []}), "pipelineConfig.stages"),
    "an unknown stage": (_set(*STAGES, 0, "stage", to="GUESSING"), "pipelineConfig.stages[0].stage"),
    "an unknown implementation": (
        _set(*STAGES, 0, "stageImplementation", to="nobody"),
        "pipelineConfig.stages[0].stageImplementation",
    ),
    "an implementation of another stage": (
        _set(*STAGES, 0, "stageImplementation", to="size-shape"),
        "pipelineConfig.stages[0].stageImplementation",
    ),
    "a step without its implementation": (
        _set(*STAGES, 1, to={"stage": "CLASSIFICATION"}),
        "pipelineConfig.stages[1].stageImplementation",
    ),
    "a step that needs another": (
        _set(*STAGES, to=[{"stage": "CLASSIFICATION", "stageImplementation": "size-shape"}]),
        "pipelineConfig.stages[0].stage",
    ),
    "a condition on nothing": (
        _set(*STAGES, 1, to={"stage": "CONDITIONAL_STAGE_SELECTOR", "stageImplementation": "not-debris"}),
        "pipelineConfig.stages[1].stage",
    ),
    "one step twice": (
        lambda b: b["pipelineConfig"]["stages"].append(b["pipelineConfig"]["stages"][1]),
        "pipelineConfig.stages[2].stageImplementation",
    ),
    "an empty callback": (_set("callback", "callbackUrl", to=""), "callback.callbackUrl"),
    "a callback to a file": (_set("callback", "callbackUrl", to="file:///etc/passwd"), "callback.callbackUrl"),
    "a callback without token": (_set("callback", to={"callbackUrl": "http://127.0.0.1/"}), "callback.callbackToken"),
    "a mode that is none": (_set("callback", "mode", to="now and then"), "callback.mode"),
    "a window that is none": (_set("completionWindow", to="soon"), "completionWindow"),
    "a share above all": (_set("fail_threshold", to=1.5), "fail_threshold"),
    "a priority that is text": (_set("priority", to="high"), "priority"),
}


@pytest.mark.parametrize("case", CASES)
def test_names_the_field(door: Door, small_night: list[TrapFrame], case: str) -> None:
    """422, the path of the field, and not one job more."""
    change, field = CASES[case]
    body = door.body("a02", door.images(frame.name for frame in small_night[:2]))
    change(body)
    before = _jobs(door)

    answer = door.client.post("/createRequest", json=body)

    assert answer.status_code == 422, answer.text
    assert field in [one["field"] for one in answer.json()["errors"]]
    assert _jobs(door) == before


@pytest.mark.parametrize("raw", [b"", b"{", b"no json", b'"text', b"\xff\xfe"])
def test_no_json_is_400(door: Door, raw: bytes) -> None:
    """A body that is no JSON is told so."""
    assert door.client.post("/createRequest", content=raw).status_code == 400


@pytest.mark.parametrize("raw", [b"[]", b"7", b"null"])
def test_no_object_is_422(door: Door, raw: bytes) -> None:
    """JSON that is no object is no request."""
    assert door.client.post("/createRequest", content=raw).status_code == 422


def test_known_names_are_told(door: Door, small_night: list[TrapFrame]) -> None:
    """Whoever misspells a name reads those that there are."""
    body = door.body("a02", door.images([small_night[0].name]), [("OBJECT_DETECTION", "flatbag")])

    answer = door.client.post("/createRequest", json=body).json()

    assert answer["code"] == "UNKNOWN_IMPLEMENTATION"
    assert "blobs" in answer["errors"][0]["message"]
    assert "flatbug" in answer["errors"][0]["message"]


def test_a_body_too_large_names_the_way(own_door: Callable[..., Door]) -> None:
    """413 names the manifest."""
    door = own_door(max_request_bytes=2000, own_workers=False)

    answer = door.client.post("/createRequest", content=b" " * 3000)

    assert answer.status_code == 413
    assert "sourceImagesUrl" in answer.json()["detail"]


def test_unknown_fields_are_warnings(door: Door, small_night: list[TrapFrame]) -> None:
    """What nobody here knows is passed over, and listed."""
    images = [{**one, "camera": "north"} for one in door.images([small_night[0].name])]

    request = door.create(door.body("a02-warn", images, colour="red"))

    assert door.status(request)["warnings"] == ["unknown field colour", "unknown field sourceImages[].camera"]


def _jobs(door: Door) -> int:
    with door.server.host.store.reading() as tx:
        return tx.jobs.count()
