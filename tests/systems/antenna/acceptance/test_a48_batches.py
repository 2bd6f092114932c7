"""A48: files of lines are done as batches, field for field as in OpenAI's guide."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from limner.clock import MovedClock
from limner.domain.values import Value
from limner.systems.antenna.batch_lines import ENDPOINT
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.door import Door
from tests.systems.antenna.trap import CLASSIFY, DETECT
from tests.waiting import until

FIELDS = {
    *("id", "object", "endpoint", "errors", "input_file_id", "completion_window", "status", "output_file_id"),
    *("error_file_id", "created_at", "in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at"),
    *("expired_at", "cancelling_at", "cancelled_at", "request_counts", "metadata"),
}
_HOURS = timedelta(hours=2)
ENDS = ("completed", "failed", "expired", "cancelled")


def test_thirteen_lines(door: Door, small_night: list[TrapFrame]) -> None:
    """Output and error files hold every line once; counts are those of the request behind it."""
    # given
    names = [*(frame.name for frame in small_night), "empty.jpg", "none.jpg"]
    images = [{**one, "id": f"{one['id']} {copy}"} for copy in range(3) for one in door.images(names)][:13]
    made = _upload(door, _lines(images))

    # when
    begun = _create(door, made, metadata={"projectId": "a48", "jobId": "mine"})
    batch = _ended(door, begun["id"])

    # then
    assert set(begun) == set(batch) == FIELDS
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 13, "completed": 11, "failed": 2}
    output, errors = (_content(door, batch[name]) for name in ("output_file_id", "error_file_id"))
    assert sorted(line["custom_id"] for line in output + errors) == sorted(f"line-{at}" for at in range(13))
    assert all(set(line) == {"id", "custom_id", "response", "error"} for line in output + errors)
    assert all(line["response"]["status_code"] == 200 and line["error"] is None for line in output)
    assert {line["error"]["code"] for line in errors} == {"SOURCE_NOT_FOUND"}
    assert all(line["response"] is None for line in errors)
    native = door.status(batch["id"])
    assert (native["counts"]["completed"], native["counts"]["failed"]) == (11, 2)
    assert native["jobId"] == "mine"
    listed = door.client.get("/v1/batches").json()
    assert listed["object"] == "list"
    assert batch["id"] in [one["id"] for one in listed["data"]]


def test_bad_lines_are_told(door: Door, small_night: list[TrapFrame]) -> None:
    """No JSON, a custom id twice, other steps: told by their lines, and the good ones are done."""
    (image,) = door.images([small_night[0].name])
    good = _lines([image])[0]
    other = json.loads(_lines([{**image, "id": "b"}], stages=[DETECT])[0])
    lines = [good, "{", good, json.dumps({**other, "custom_id": "other"}), json.dumps({"custom_id": "bare"})]

    batch = _ended(door, _create(door, _upload(door, lines), metadata={"projectId": "a48-bad"})["id"])

    assert batch["request_counts"] == {"total": 5, "completed": 1, "failed": 4}
    assert [one["line"] for one in batch["errors"]["data"]] == [2, 3, 4, 5]
    errors = _content(door, batch["error_file_id"])
    assert [line["custom_id"] for line in errors] == [None, "line-0", "other", "bare"]


def test_nothing_but_bad_lines_fails(door: Door) -> None:
    """Where no line can be read the batch is failed, and says why."""
    batch = _ended(door, _create(door, _upload(door, ["{", "[]"]))["id"])

    assert batch["status"] == "failed"
    assert batch["failed_at"] is not None
    assert len(batch["errors"]["data"]) == 2


def test_files_are_kept_on_cancel_and_expiry(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """What was done, and what was not, is in the files of a cancelled batch and of an expired one."""
    clock = MovedClock()
    door = own_door(own_workers=False, clock=clock)
    images = door.images(frame.name for frame in small_night)
    lines = _upload(door, _lines(images))
    first, second = (_create(door, lines, completion_window="1h") for _ in range(2))

    # when
    until(lambda: _get(door, first["id"])["status"] == "in_progress")
    cancelled = door.client.post(f"/v1/batches/{first['id']}/cancel").json()
    clock.move(_HOURS)
    expired = _ended(door, second["id"])

    # then
    assert (cancelled["status"], expired["status"]) == ("cancelled", "expired")
    assert cancelled["cancelled_at"] is not None
    assert expired["expired_at"] is not None
    for batch, code in ((cancelled, "CANCELLED"), (expired, "EXPIRED")):
        assert batch["output_file_id"] is None
        assert [line["error"]["code"] for line in _content(door, batch["error_file_id"])] == [code] * 3


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/chat/completions"}, "endpoint"),
        ({"completion_window": "some day"}, "completion_window"),
        ({"metadata": {"projectId": "a b"}}, "metadata.projectId"),
        ({"input_file_id": 7}, "input_file_id"),
    ],
)
def test_errors_are_in_their_form(door: Door, change: dict[str, Value], param: str) -> None:
    """What is wrong is told as OpenAI's clients expect it."""
    body = {"input_file_id": _upload(door, ["{"]), "endpoint": ENDPOINT, "completion_window": "24h", **change}

    answer = door.client.post("/v1/batches", json=body)

    assert answer.status_code == 422
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["param"] == param


def test_unknown_ones_are_404(door: Door) -> None:
    """Batches and files that nobody made."""
    for path in ("/v1/batches/none", "/v1/files/none", "/v1/files/none/content"):
        answer = door.client.get(path)
        assert answer.status_code == 404
        assert "error" in answer.json()


@pytest.mark.real_data
def test_fields_are_those_of_the_guide(shared_data: Path) -> None:
    """The example of the guide has the fields that are checked here."""
    path = shared_data / "antenna" / "requests" / "30_openai_style_batch_object.json"

    assert set(json.loads(path.read_text(encoding="utf-8"))) == FIELDS


def _lines(images: list[dict[str, Value]], stages: object = (DETECT, CLASSIFY)) -> list[str]:
    assert isinstance(stages, tuple | list)
    config = {"stages": [{"stage": stage, "stageImplementation": way} for stage, way in stages]}
    return [
        json.dumps(
            {
                "custom_id": f"line-{at}",
                "method": "POST",
                "url": ENDPOINT,
                "body": {"sourceImage": image, "pipelineConfig": config},
            }
        )
        for at, image in enumerate(images)
    ]


def _upload(door: Door, lines: list[str]) -> str:
    answer = door.client.post(
        "/v1/files", files={"file": ("lines.jsonl", "\n".join(lines).encode())}, data={"purpose": "batch"}
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def _create(door: Door, file: str, **more: Value) -> dict[str, Value]:
    body = {"input_file_id": file, "endpoint": ENDPOINT, "completion_window": "24h", **more}
    return _told(door.client.post("/v1/batches", json=body))


def _get(door: Door, batch: str) -> dict[str, Value]:
    return _told(door.client.get(f"/v1/batches/{batch}"))


def _ended(door: Door, batch: str) -> dict[str, Value]:
    until(lambda: _get(door, batch)["status"] in ENDS)
    return _get(door, batch)


def _content(door: Door, file: str) -> list[dict[str, Value]]:
    return [json.loads(line) for line in door.client.get(f"/v1/files/{file}/content").text.splitlines()]


def _told(answer: httpx.Response) -> dict[str, Value]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Value] = answer.json()
    return found
