"""Whole pipelines were run again for a new classifier: only it runs, on the boxes that are there."""

import pytest

from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import CLASSIFY, DETECT, FEATURES, Trap, images_of


@pytest.mark.slow
def test_new_classifier_only(shared_trap: Trap, pictures: PictureServer, small_night: list[TrapFrame]) -> None:
    """A request that lists another classifier infers one value for each box and nothing else; old labels stay."""
    # given
    images = [{**one, "id": f"new/{one['id']}"} for one in images_of(small_night, url=pictures.url)]
    first = shared_trap.run(images, [DETECT, FEATURES, CLASSIFY])

    # when
    second = shared_trap.run(images, [DETECT, FEATURES, ("CLASSIFICATION", "pale-dark")])

    # then
    boxes = [line for line in shared_trap.results(second) if line.collection == "detections"]
    assert second.inferred == len(boxes) > 5
    assert {line.id for line in boxes} == {
        line.id for line in shared_trap.results(first) if line.collection == "detections"
    }
    for line in boxes:
        assert {label["name"] for label in line.values["classify"]["labels"]} == {"pale", "dark"}
    before = [line for line in shared_trap.results(first) if line.collection == "detections"]
    assert all(len(line.values["classify"]["labels"]) == 4 for line in before)
