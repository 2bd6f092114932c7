"""A13, A35: bad pictures fail with their codes and harm nobody; an empty one is a result."""

from pathlib import Path

import pytest

from limner.systems.antenna.trap_files import write_broken_files, write_odd_files
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.listener import CallbackListener
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.acceptance.contract import check_callback
from tests.systems.antenna.acceptance.fixtures import local_request
from tests.systems.antenna.door import Door, door_over
from tests.systems.antenna.trap import new_project


def test_each_kind_has_its_code(door: Door, small_night: list[TrapFrame], tmp_path: Path) -> None:
    """Broken, missing and forbidden ones fail by their codes in callback, status and error file alike; others end."""
    # given
    broken = {one.path.name: str(one.code) for one in write_broken_files(tmp_path / "broken")}
    legal = [one.path.name for one in write_odd_files(tmp_path / "odd")] + [small_night[0].name, "empty.jpg"]
    expected = {**broken, "none.jpg": "SOURCE_NOT_FOUND", "inside": "SOURCE_REFUSED", "here": "SOURCE_REFUSED"}
    images = door.images([*legal, *broken, "none.jpg"])
    images.append({"id": "inside", "url": "http://169.254.169.254/picture.jpg"})
    images.append({"id": "here", "url": str(tmp_path / "odd" / legal[0])})

    # when
    request = door.create(door.body("a13", images))
    ended = door.ended(request)
    (document,) = door.callbacks(request)

    # then
    assert ended["status"] == "COMPLETED_WITH_FAILURES"
    assert ended["counts"]["completed"] == len(legal)
    assert ended["counts"]["failed"] == len(expected)
    check_callback(document, sizes={})
    in_callback = {one["sourceImageId"]: one["error"] for one in document["data"] if one["status"] == "FAILED"}
    in_status = {name: item["error"] for name, item in door.items(request).items() if item["error"]}
    assert {name: error["code"] for name, error in in_callback.items()} == expected
    assert in_callback == in_status
    lines = door.client.get(f"/requests/{request}/errors").text.splitlines()
    assert len(lines) == len(expected)
    assert all(not one["detections"] for one in document["data"] if one["status"] == "FAILED")


def test_an_empty_board_is_a_result(door: Door) -> None:
    """No detection, completed; the second request calls nothing."""
    body = door.body("a35", door.images(["empty.jpg"]))

    first, second = door.run(body), door.run(body)

    assert first["status"] == second["status"] == "COMPLETED"
    assert door.results(second["requestId"])["empty.jpg"]["detections"] == []
    assert _inferred(door, first) > 0
    assert _inferred(door, second) == 0


@pytest.mark.real_data
def test_real_files(shared_data: Path, tmp_path: Path) -> None:
    """Requests 02 and 03 over real pictures: 8 completed; then 7 completed, 6 failed, each by the right code."""
    folder = shared_data / "antenna"
    with (
        PictureServer(folder) as pictures,
        CallbackListener(token="fixture-callback-token") as listener,
        door_over(new_project(tmp_path / "trap"), pictures, listener) as door,
    ):
        good = door.run(local_request(folder, "02_create_request.local_good.json", pictures, listener))
        mixed = door.run(local_request(folder, "03_create_request.local_mixed_bad.json", pictures, listener))
        codes = {name: item["error"]["code"] for name, item in door.items(mixed["requestId"]).items() if item["error"]}
        documents = door.callbacks(good["requestId"]) + door.callbacks(mixed["requestId"])
    assert (good["status"], good["counts"]["completed"]) == ("COMPLETED", 8)
    assert mixed["status"] == "COMPLETED_WITH_FAILURES"
    assert (mixed["counts"]["completed"], mixed["counts"]["failed"]) == (7, 6)
    assert codes == {
        "img-007": "SOURCE_TRUNCATED",
        "img-008": "SOURCE_TRUNCATED",
        "img-009": "SOURCE_TRUNCATED",
        "img-010": "SOURCE_WRONG_TYPE",
        "img-011": "SOURCE_TOO_LARGE",
        "img-012": "SOURCE_NOT_FOUND",
    }
    for document in documents:
        check_callback(document, sizes={})


def _inferred(door: Door, ended: dict[str, object]) -> int:
    with door.server.host.store.reading() as tx:
        return tx.jobs.get(str(ended["requestId"])).inferred
