"""Whole pipelines were run again where boxes were known: given boxes skip the detector."""

import pytest

from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import CLASSIFY, DETECT, Trap, images_of


@pytest.mark.slow
def test_given_detections_skip_detector(
    shared_trap: Trap, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """Labels are attached to the boxes that came along, and no detector said anything about the picture."""
    # given
    (image,) = images_of(small_night[:1], url=pictures.url)
    boxes = [list(thing.box) for thing in small_night[0].things[:2]]
    given = [dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True)) for box in boxes]

    # when
    job = shared_trap.run([{**image, "id": "given", "detections": given}], [DETECT, CLASSIFY])

    # then
    lines = shared_trap.detections(job, "given")
    assert sorted(line.fields["box"] for line in lines) == sorted(boxes)
    assert all(line.values["classify"]["labels"] for line in lines)
    origins = shared_trap.why("captures", "traps:given", stage="detect").origins
    assert {one.implementation: one.status for one in origins} == {"given": "done", "blobs": "skipped"}
