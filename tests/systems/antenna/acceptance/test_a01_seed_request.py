"""A1: the request of the seed is accepted unchanged, once or often."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from limner.domain.values import Value
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.door import Door
from tests.waiting import until

#: The seed's own request; its addresses are of the outer world and of its author's machine.
SEED: dict[str, Value] = {
    "projectId": "ecos",
    "jobId": "ea12ac70-288c-11ef-9ca5-00155d926c42",
    "sourceImages": [
        {
            "id": "NScxODE3NzEyMwo=",
            "url": "https://example.org/ias/denmark/DK1/2023_07_05/20230705000135-00-07.jpg",
            "eventId": "1234",
        }
    ],
    "pipelineConfig": {
        "stages": [
            {"stage": "OBJECT_DETECTION", "stageImplementation": "flatbug"},
            {"stage": "CLASSIFICATION", "stageImplementation": "mcc24"},
        ]
    },
    "callback": {"callbackUrl": "http://127.0.0.1:8080/example/callback", "callbackToken": "1234"},
}

ASKED = [(one["stage"], one["stageImplementation"]) for one in SEED["pipelineConfig"]["stages"]]


@pytest.mark.timed
@pytest.mark.parametrize("path", ["/createRequest", "/pipeline-controller/createRequest"])
def test_the_seed_is_accepted(door: Door, path: str) -> None:
    """Sent as curl sends it, without a content type of JSON: 202 within a second, with the id of the request."""
    answer = door.client.post(
        path, content=json.dumps(SEED), headers={"content-type": "application/x-www-form-urlencoded"}
    )

    assert answer.status_code == 202
    assert set(answer.json()) == {"requestId"}
    assert answer.elapsed.total_seconds() < 1


def test_same_key_gives_the_same_request(door: Door, small_night: list[TrapFrame]) -> None:
    """With one Idempotency-Key there is one request; without a key each is new."""
    body = door.body("a01-key", door.images([small_night[0].name]))

    first, again = (door.create(body, **{"Idempotency-Key": "a01"}) for _ in range(2))
    other = door.create(body)

    assert first == again
    assert other != first


def test_a_key_is_for_one_request(door: Door, small_night: list[TrapFrame]) -> None:
    """The key of one request with another one is refused."""
    first, other = (door.body(project, door.images([small_night[0].name])) for project in ("a01-one", "a01-other"))
    door.create(first, **{"Idempotency-Key": "a01-reused"})

    answer = door.client.post("/createRequest", json=other, headers={"Idempotency-Key": "a01-reused"})

    assert answer.status_code == 422


def test_ends_completed_under_its_own_names(door: Door, small_night: list[TrapFrame]) -> None:
    """By the seed's names for the models; what really ran is named in status and results."""
    body = door.body("a01-run", door.images(frame.name for frame in small_night), ASKED)

    ended = door.run(body)

    assert ended["status"] == "COMPLETED"
    assert ended["progress"] == "3/3"
    assert [(stage["asked"], stage["implementation"]) for stage in ended["stages"]] == [
        ("flatbug", "blobs"),
        ("mcc24", "size-shape"),
    ]
    first = next(iter(door.results(ended["requestId"]).values()))
    algorithms = {stage["version"]["algorithm"] for stage in first["stages"]}
    assert algorithms == {"blobs", "size-shape"}


def test_ids_are_opaque(door: Door, small_night: list[TrapFrame]) -> None:
    """Any letter may stand in an id, and it is given back exactly."""
    ids = ["NScxODE3NzEyMwo=", "a/b:c d", "Zünsler 🦋", "-"]
    images = [{"id": one, "url": door.pictures.url(small_night[0].name)} for one in ids]

    ended = door.run(door.body("a01.ids", images))

    assert list(door.results(ended["requestId"])) == ids
    assert list(door.items(ended["requestId"])) == ids


def test_docs_page_knows_it(door: Door) -> None:
    """The browser page can try it: the OpenAPI document has its fields and an example."""
    described = door.client.get("/openapi.json").json()["paths"]["/createRequest"]["post"]["requestBody"]

    body = described["content"]["application/json"]
    assert set(body["example"]) == set(SEED)
    assert set(SEED) <= set(body["schema"]["properties"])


@pytest.mark.real_data
def test_the_file_of_the_seed(door: Door, shared_data: Path) -> None:
    """The file itself, byte for byte; its picture cannot be reached from here, so only its taking is looked at."""
    raw = (shared_data / "antenna" / "requests" / "01_create_request.seed.json").read_bytes()

    answer = door.client.post("/createRequest", content=raw)

    assert answer.status_code == 202


def test_a_real_process(trap_folder: Path, door: Door, small_night: list[TrapFrame]) -> None:
    """`limner serve` in a project from the template: the request is done, and the process ends gracefully."""
    words = ["serve", "--port", "0", "--json", "--allow-host", "127.0.0.1"]
    command = [str(Path(sys.executable).with_name("limner")), *words]
    body = door.body("process", door.images([small_night[0].name]), ASKED)
    with subprocess.Popen(command, cwd=trap_folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            request = httpx.post(f"{url}/createRequest", json=body, timeout=30).json()["requestId"]
            until(lambda: httpx.get(f"{url}/requests/{request}", timeout=30).json()["status"] == "COMPLETED")
            door.callbacks(request)
        finally:
            process.terminate()
        assert process.wait(30) == 0
