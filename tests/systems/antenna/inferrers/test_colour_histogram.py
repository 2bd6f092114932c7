"""ColourHistogram gives unit vectors of the colours in a box."""

import numpy as np
import pytest
from PIL import Image

from limner.systems.antenna.colour_histogram import ColourHistogram, histogram
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.inferrers.matching import well


def test_vectors_are_units_of_216(frame: TrapFrame) -> None:
    """Each vector has 6 × 6 × 6 float32 numbers, length 1, and says so."""
    boxes = [list(thing.box) for thing in frame.things]
    for answer in well(ColourHistogram().infer([frame.image] * len(boxes), list(boxes))):
        vector = answer["vector"]
        assert isinstance(vector, np.ndarray)
        assert (vector.dtype, vector.shape, answer["dim"]) == (np.float32, (216,), 216)
        assert np.linalg.norm(vector.astype(np.float64)) == pytest.approx(1, abs=1e-6)


def test_numbers_are_roots_of_shares() -> None:
    """A box one quarter red and three quarters blue has the roots of these in the bins of these colours."""
    # given
    pixels = np.array([[255, 0, 0]] + [[0, 0, 255]] * 3, dtype=np.uint8)

    # when
    found = histogram(pixels, bins=6)

    # then
    assert found[5 * 36] == pytest.approx(0.5)
    assert found[5] == pytest.approx(0.75**0.5)
    assert np.count_nonzero(found) == 2


def test_only_the_box_counts() -> None:
    """What is outside the box changes nothing."""
    red = Image.new("RGB", (50, 50), "red")
    framed = Image.new("RGB", (90, 90), "blue")
    framed.paste(red, (20, 20))
    alone, inside = well(ColourHistogram().infer([red, framed], [[0, 0, 50, 50], [20, 20, 70, 70]]))
    assert np.array_equal(np.asarray(alone["vector"]), np.asarray(inside["vector"]))


def test_an_insect_is_liker_itself_than_others(nights: list[list[TrapFrame]]) -> None:
    """From one frame to the next most insects of a night are nearest in colour to themselves."""
    # given
    first, second = nights[2][:2]
    tracks = sorted({one.track for one in first.things} & {one.track for one in second.things})

    # when
    rows = []
    for frame in (first, second):
        boxes = [next(list(one.box) for one in frame.things if one.track == track) for track in tracks]
        answers = well(ColourHistogram().infer([frame.image] * len(boxes), list(boxes)))
        rows.append(np.stack([np.asarray(answer["vector"]) for answer in answers]))

    # then
    nearest = (rows[0] @ rows[1].T).argmax(axis=1)
    assert (nearest == np.arange(len(tracks))).mean() >= 0.8


def test_parameters_are_checked() -> None:
    """One bin tells no colours apart."""
    with pytest.raises(ValueError, match="bins is 2 to 32"):
        ColourHistogram(bins=1)
