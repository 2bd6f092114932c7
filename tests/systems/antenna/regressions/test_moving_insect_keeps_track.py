"""The tracker's threshold was 1, which no insect that moved off its box could meet."""

import pytest
from PIL import Image, ImageDraw

from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import DETECT, FEATURES, TRACK, Trap

SIZE = (960, 540)
#: Left edges of one insect, 60 pixels long, that walks on by more than its own length from frame to frame.
WALK = (200, 290, 380, 470)


def frame(left: int) -> bytes:
    """A board with a dark insect that walks, and one that sits."""
    import io

    board = Image.new("RGB", SIZE, (222, 218, 224))
    draw = ImageDraw.Draw(board)
    draw.ellipse((left, 240, left + 60, 275), fill=(60, 45, 30))
    draw.ellipse((700, 80, 745, 120), fill=(20, 20, 90))
    buffer = io.BytesIO()
    board.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.slow
def test_moving_insect_keeps_track(shared_trap: Trap) -> None:
    """Boxes of one insect that do not overlap are one track; the one that sits is another."""
    with PictureServer({f"{at}.png": frame(left) for at, left in enumerate(WALK)}) as server:
        images = [{"id": f"walk-{at}", "url": server.url(f"{at}.png"), "eventId": "walk"} for at in range(len(WALK))]

        # when
        job = shared_trap.run(images, [DETECT, FEATURES, TRACK])

    # then
    assert job.state == "done"
    (row,) = [row for row in shared_trap.host.app.records("events") if row.record.id == "traps:walk"]
    assert sorted(len(track["detections"]) for track in row.values["track"]["tracks"]) == [len(WALK), len(WALK)]
