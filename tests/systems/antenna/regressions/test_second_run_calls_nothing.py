"""Whole pipelines were run again: a second request for the same calls no inferrer and fetches nothing."""

import pytest

from limner.domain.values import encode
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import CLASSIFY, CROP, DETECT, FEATURES, TRACK, Trap, images_of


@pytest.mark.slow
def test_second_run_calls_nothing(shared_trap: Trap, pictures: PictureServer, small_night: list[TrapFrame]) -> None:
    """Every step is current: nothing is inferred, nothing fetched, and the results are the same."""
    # given
    steps = [DETECT, CROP, CLASSIFY, FEATURES, TRACK]
    images = [{**one, "id": f"twice/{one['id']}"} for one in images_of(small_night, url=pictures.url, event="twice")]
    first = shared_trap.run(images, steps)
    asked = pictures.total()

    # when
    second = shared_trap.run(images, steps)

    # then
    assert first.inferred > 20
    assert second.inferred == 0
    assert pictures.total() == asked
    before, again = (
        [(line.id, line.provenance, encode(dict(line.values))) for line in shared_trap.results(job)]
        for job in (first, second)
    )
    assert again == before
