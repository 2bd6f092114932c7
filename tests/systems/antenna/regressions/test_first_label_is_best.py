"""`labelNames[0]` was taken for the winner although labels came in no order: best first, in every implementation."""

import pytest

from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import CLASSIFY, DETECT, Trap, images_of


@pytest.mark.slow
def test_first_label_is_best(shared_trap: Trap, pictures: PictureServer, small_night: list[TrapFrame]) -> None:
    """Scores of every classification fall, whichever classifier said them."""
    # given
    images = [{**one, "id": f"best/{one['id']}"} for one in images_of(small_night, url=pictures.url)]

    # when
    job = shared_trap.run(images, [DETECT, CLASSIFY, ("CLASSIFICATION", "pale-dark")])

    # then
    lines = [line for line in shared_trap.results(job) if line.collection == "detections"]
    assert lines
    for line in lines:
        for way in ("classify/size-shape", "classify/pale-dark"):
            scores = [label["score"] for label in line.values[way]["labels"]]
            assert scores == sorted(scores, reverse=True)
            assert scores[0] == max(scores)
