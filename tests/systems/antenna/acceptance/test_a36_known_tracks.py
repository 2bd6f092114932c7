"""A36: insects of made nights, whose ways are known, are followed by requests as clients send them."""

import pytest

from limner.systems.antenna.demo import score_of
from limner.systems.antenna.trap_pictures import night
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.door import Door, served_as_files
from tests.systems.antenna.trap import DETECT, FEATURES, TRACK


@pytest.mark.slow
@pytest.mark.parametrize("seed", [40, 41])
def test_known_tracks_are_found(door: Door, seed: int) -> None:
    """Of ten links between neighbouring frames at least nine are found, and one of 25 at most is wrong."""
    # given
    frames = list(night(seed=seed, frames=5, things=10, size=(1280, 720)))
    with PictureServer(served_as_files(frames)) as server:
        images = [{"id": frame.name, "url": server.url(frame.name), "eventId": "night"} for frame in frames]

        # when
        ended = door.run(door.body(f"a36-known-{seed}", images, [DETECT, FEATURES, TRACK]))

    # then
    score = score_of(frames, list(door.results(ended["requestId"]).values()))
    assert score.links >= 20
    assert score.followed >= 0.9 * score.links
    assert score.wrong <= 0.04 * score.links
