"""A46: pictures behind an address are streamed in, line by line, however many they are."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from threading import Event

import httpx
import pytest

from limner.systems.antenna.trap_pictures import TrapFrame
from limner.systems.antenna.wire_images import image_lines
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.chaos.storm import ServerProcess
from tests.systems.antenna.door import Door, served_as_files
from tests.systems.antenna.trap import edit, new_project
from tests.waiting import until


def test_lines_become_pictures(small_night: list[TrapFrame], own_door: Callable[..., Door]) -> None:
    """Every good line is done; bad ones are counted, and told with their numbers."""
    files = served_as_files(small_night)
    with PictureServer(files) as pictures:
        door = own_door()
        good = [_line(name, pictures.url(name)) for name in files]
        lines = [*good[:2], "no json", good[0], _line("unaddressed"), "", good[2]]
        files["list.jsonl"] = "\n".join(lines).encode()
        body = door.body("list", [])
        del body["sourceImages"]

        ended = door.run({**body, "sourceImagesUrl": pictures.url("list.jsonl")})

        assert ended["status"] == "COMPLETED"
        assert ended["counts"]["total"] == 3
        assert "3 lines became no picture" in ended["warnings"][0]
        told = [
            json.loads(line) for line in door.client.get(f"/requests/{ended['requestId']}/errors").text.splitlines()
        ]
        assert [one["line"] for one in told] == ["3", "4", "5"]
        assert {one["error"]["code"] for one in told} == {"INPUT_INVALID"}


def test_a_list_that_is_not_there_ends_the_request(own_door: Callable[..., Door]) -> None:
    """It fails, and its events say why."""
    door = own_door(own_workers=False)
    body = door.body("nowhere", [], callback=False)
    del body["sourceImages"]

    ended = door.run({**body, "sourceImagesUrl": door.pictures.url("no-such-list")})

    assert ended["status"] == "FAILED"
    events = door.client.get(f"/requests/{ended['requestId']}/events").json()["items"]
    assert any("404" in str(event["detail"]) for event in events)


def test_boxes_may_come_in_lines(own_door: Callable[..., Door], small_night: list[TrapFrame]) -> None:
    """A line with boxes needs no detector; one without has it."""
    files = served_as_files(small_night[:2])
    with PictureServer(files) as pictures:
        door = own_door()
        one, other = files
        boxes = [{"x1": 5.0, "y1": 5.0, "x2": 50.0, "y2": 50.0}]
        lines = [_line(one, pictures.url(one), detections=boxes), _line(other, pictures.url(other))]
        files["list.jsonl"] = "\n".join(lines).encode()
        body = door.body("boxes", [])
        del body["sourceImages"]

        ended = door.run({**body, "sourceImagesUrl": pictures.url("list.jsonl")})

        results = door.results(ended["requestId"])
        assert len(results[one]["detections"]) == 1
        assert results[one]["detections"][0]["version"]["algorithm"] == "given"
        assert {found["version"]["algorithm"] for found in results[other]["detections"]} == {"blobs"}


@pytest.mark.slow
def test_many_lines_are_streamed(own_door: Callable[..., Door]) -> None:
    """Progress is told while the list is still read, and in the end every line is there once."""
    count = 30_000
    door = own_door(own_workers=False)
    lines = (_line(str(number), f"http://127.0.0.1/{number}.jpg") for number in range(count))
    with PictureServer({"list.jsonl": "\n".join(lines).encode()}) as pictures:
        body = door.body("many", [], callback=False)
        del body["sourceImages"]
        request = door.create({**body, "sourceImagesUrl": pictures.url("list.jsonl")})
        totals: list[int] = []

        def whole() -> bool:
            totals.append(door.status(request)["counts"]["total"])
            return totals[-1] == count

        until(whole)

    assert totals == sorted(totals)
    assert any(0 < total < count for total in totals)


@pytest.mark.slow
@pytest.mark.chaos_full
@pytest.mark.timeout(1800)
def test_a_million_lines_take_less_than_500_mb(tmp_path: Path) -> None:
    """A real server, told where a million pictures are listed: all are there once, progress rises, memory does not."""
    count = 1_000_000
    folder = new_project(tmp_path / "million")
    edit(folder / "limner.toml", "allow_hosts = []", 'allow_hosts = ["127.0.0.1"]')
    lines = "\n".join(_line(str(number), f"https://pictures.example.org/{number}.jpg") for number in range(count))
    stages = [{"stage": "OBJECT_DETECTION", "stageImplementation": "blobs"}]
    body = {"projectId": "million", "jobId": "million", "pipelineConfig": {"stages": stages}}
    server = ServerProcess(folder)
    totals: list[int] = []
    try:
        with PictureServer({"list.jsonl": lines.encode()}) as pictures:
            del lines
            server.start()
            asked = {**body, "sourceImagesUrl": pictures.url("list.jsonl")}
            answer = httpx.post(f"{server.url}/createRequest", json=asked, timeout=30)
            assert answer.status_code == 202, answer.text
            status = f"{server.url}/requests/{answer.json()['requestId']}"

            def whole() -> bool:
                totals.append(httpx.get(status, timeout=60).json()["counts"]["total"])
                # Whoever asks all the time slows down what is asked about.
                Event().wait(1.0)
                return totals[-1] >= count

            until(whole, within=timedelta(minutes=25))
            peak = server.peak_mb()
    finally:
        server.kill()

    assert totals[-1] == count
    assert totals == sorted(totals)
    assert len(set(totals)) > 10
    assert peak < 500


def test_a_reader_takes_each_id_once() -> None:
    """Of two lines with one id the first counts; another reader begins anew."""
    line = _line("a", "http://example.org/a.jpg").encode()
    read, another = image_lines("p"), image_lines("p")

    first, second = (type(read(line, row)).__name__ for row in (1, 2))

    assert (first, second) == ("RecordIn", "SetAside")
    assert type(another(line, 1)).__name__ == "RecordIn"


def _line(identity: str, url: str | None = None, **more: object) -> str:
    found: Mapping[str, object] = {"id": identity, **({"url": url} if url else {}), **more}
    return json.dumps(found)
