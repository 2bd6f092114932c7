"""A35: an empty board is a result, and looking again at it calls nothing."""

from pathlib import Path

import pytest

from limner.testing.picture_server import PictureServer
from tests.systems.antenna.door import Door
from tests.systems.antenna.trap import CLASSIFY, DETECT

pytestmark = pytest.mark.slow


def test_empty_picture_is_done_and_stays_so(door: Door) -> None:
    """Processed, none found: completed without a detection; the second request infers and fetches nothing."""
    # given
    body = door.body("a35", door.images(["blank.png"]), [DETECT, CLASSIFY])
    first = door.run(body)
    asked = door.pictures.requests["blank.png"]

    # when
    second = door.run(body)

    # then
    for ended in (first, second):
        image = door.results(ended["requestId"])["blank.png"]
        assert ended["status"] == "COMPLETED"
        assert (image["status"], image["error"], image["detections"]) == ("COMPLETED", None, [])
        assert "blobs" in {stage["version"]["algorithm"] for stage in image["stages"]}
    assert door.pictures.requests["blank.png"] == asked
    with door.server.host.store.reading() as tx:
        assert tx.jobs.get(second["requestId"]).inferred == 0


@pytest.mark.real_data
def test_real_blank_picture(door: Door, shared_data: Path) -> None:
    """The same for the blank picture among the real files."""
    with PictureServer(shared_data / "antenna" / "images") as server:
        image = {"id": "blank", "url": server.url("bad/ok-blank.png")}

        # when
        ended = door.run(door.body("a35-real", [image], [DETECT, CLASSIFY]))

    # then
    assert ended["status"] == "COMPLETED"
    assert door.results(ended["requestId"])["blank"]["detections"] == []
