"""SizeShape sorts by size, filling, contrast and elongation."""

import pytest
from PIL import Image, ImageDraw

from limner.systems.antenna.size_shape import LABELS, SizeShape, measure
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.inferrers.matching import well

BOARD = (222, 220, 226)


def scene(*ovals: tuple[int, int, int, int], colour: tuple[int, int, int] = (60, 45, 40)) -> Image.Image:
    """A board of 2000 × 1000 with *ovals* on it."""
    picture = Image.new("RGB", (2000, 1000), BOARD)
    for box in ovals:
        ImageDraw.Draw(picture).ellipse(box, fill=colour)
    return picture


def labels(picture: Image.Image, *boxes: tuple[int, int, int, int]) -> list[str]:
    """The best label of each box."""
    answers = well(SizeShape().infer([picture] * len(boxes), [list(box) for box in boxes]))
    return [str(names(answer)[0]) for answer in answers]


def names(answer: dict[str, object]) -> list[str]:
    """The labels of one answer, best first."""
    found = answer["labels"]
    assert isinstance(found, list)
    return [one["name"] for one in found]


def test_sizes_are_told_apart() -> None:
    """Dark ovals of a twelfth, a thirtieth and a sixtieth of the picture are large, medium and small."""
    boxes = ((100, 100, 260, 200), (500, 100, 566, 150), (800, 100, 832, 124))
    assert labels(scene(*boxes), *boxes) == ["large", "medium", "small"]


def test_faint_and_thin_things_are_debris() -> None:
    """A stain without contrast and a thin line are debris, whatever their size."""
    stain, line = (100, 100, 260, 200), (500, 100, 700, 106)
    assert labels(scene(stain, colour=(212, 206, 214)), stain) == ["debris"]
    assert labels(scene(line), line) == ["debris"]


def test_scores_are_sorted_and_add_up_to_one(frame: TrapFrame) -> None:
    """Each answer has all four labels, best first, whose scores are shares; there is nothing more to store."""
    answers = well(SizeShape().infer([frame.image] * len(frame.things), [list(one.box) for one in frame.things]))
    for answer in answers:
        found = answer["labels"]
        assert isinstance(found, list)
        scores = [one["score"] for one in found]
        assert sorted(one["id"] for one in found) == sorted(LABELS)
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-9)
        assert answer["full"] is None


def test_made_insects_are_sorted_well(nights: list[list[TrapFrame]]) -> None:
    """On made pictures at least 85 of 100 labels are those that the things were made with."""
    things = [(frame.image, thing) for frames in nights for frame in frames for thing in frame.things]
    answers = well(SizeShape().infer([image for image, _ in things], [list(thing.box) for _, thing in things]))
    right = sum(names(answer)[0] == thing.label for answer, (_, thing) in zip(answers, things, strict=True))
    assert len(things) > 100
    assert right >= 0.85 * len(things)


def test_measures_mean_what_they_say() -> None:
    """A dark oval twice as long as wide fills π/4 of its box."""
    found = measure(scene((100, 100, 300, 200)), (100, 100, 301, 201))
    assert found.size == pytest.approx(0.1, abs=0.001)
    assert found.filled == pytest.approx(0.785, abs=0.04)
    assert found.elongation == pytest.approx(2, abs=0.1)
    assert found.contrast == pytest.approx((226 - 40) / 255, abs=0.03)


def test_wrong_box_fails_alone(frame: TrapFrame) -> None:
    """An empty box fails by itself."""
    wrong, right = SizeShape().infer([frame.image] * 2, [[5, 5, 5, 9], [5, 5, 9, 9]])
    assert isinstance(wrong, ValueError)
    assert isinstance(right, dict)
