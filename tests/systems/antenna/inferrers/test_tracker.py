"""The tracker follows insects from frame to frame, whatever the order in which frames arrive."""

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest

from limner.systems.antenna.tracker import Tracker, link
from limner.systems.antenna.trap_pictures import TrapFrame
from tests.systems.antenna.inferrers.matching import boxes_of, matched, well

Given = dict[str, object]


def frame(identity: str, *boxes: tuple[int, int, int, int], order: object = None, **more: object) -> Given:
    """A frame whose detections are called after it and their number."""
    detections = [{"id": f"{identity}{row}", "box": list(box)} for row, box in enumerate(boxes)]
    return {"id": identity, "order": order, "size": [1000, 1000], "detections": detections, **more}


def tracks(answer: Mapping[str, object]) -> list[list[str]]:
    """The detections of each track."""
    found = answer["tracks"]
    assert isinstance(found, list)
    return [one["detections"] for one in found]


def test_sitting_insects_keep_their_tracks() -> None:
    """Insects that hardly move are followed; each detection is in one track, with one cost a link."""
    # given
    frames = [
        frame("a", (100, 100, 200, 160), (600, 600, 640, 640)),
        frame("b", (604, 598, 645, 640), (102, 98, 202, 159)),
        frame("c", (101, 100, 200, 160)),
    ]

    # when
    answer = link(frames)

    # then
    assert answer["tracks"] == [
        {"id": "track-a0", "detections": ["a0", "b1", "c0"], "costs": [pytest.approx(0.6, abs=0.1)] * 2},
        {"id": "track-a1", "detections": ["a1", "b0"], "costs": [pytest.approx(0.8, abs=0.1)]},
    ]
    assert answer["missing_frames"] == []


def test_moving_insect_keeps_track() -> None:
    """An insect that left its box altogether is known again by colour, size and nearness."""
    # given
    colours = np.eye(3, dtype=np.float32)
    first, second = (frame("a", (100, 100, 200, 160)), frame("b", (260, 140, 362, 200)))
    for one in (first, second):
        one["detections"][0]["vector"] = colours[0]  # type: ignore[index]  # a list, as made above

    # when / then
    assert tracks(link([first, second])) == [["a0", "b0"]]
    assert tracks(link([first, second], threshold=1.0)) == [["a0"], ["b0"]]


def test_other_colours_are_other_insects() -> None:
    """Of two insects that changed places the colours decide."""
    # given
    red, blue = np.eye(2, dtype=np.float32)
    left, right = [100, 100, 150, 150], [180, 100, 230, 150]
    before = frame("a") | {
        "detections": [{"id": "a0", "box": left, "vector": red}, {"id": "a1", "box": right, "vector": blue}]
    }
    after = frame("b") | {
        "detections": [{"id": "b0", "box": left, "vector": blue}, {"id": "b1", "box": right, "vector": red}]
    }

    # when / then
    assert tracks(link([before, after], threshold=2.5)) == [["a0", "b0"], ["a1", "b1"]]
    after["detections"][0]["box"], after["detections"][1]["box"] = [150, 130, 200, 180], [140, 60, 190, 110]  # type: ignore[index]  # a list, as made above
    assert tracks(link([before, after], threshold=2.5)) == [["a0", "b1"], ["a1", "b0"]]


def test_track_may_skip_one_frame() -> None:
    """Away for one frame it is the same insect, for two frames another."""
    # given
    here, empty = (100, 100, 200, 200), frame("b")

    # when / then
    assert tracks(link([frame("a", here), empty, frame("c", here)])) == [["a0", "c0"]]
    assert tracks(link([frame("a", here), empty, frame("c"), frame("d", here)])) == [["a0"], ["d0"]]
    assert tracks(link([frame("a", here), empty, frame("c", here)], skip=0)) == [["a0"], ["c0"]]


def test_failed_frames_are_named_and_passed_over() -> None:
    """A frame that failed is listed as missing and breaks no track; frames without insects are not missing."""
    # given
    here = (100, 100, 200, 200)
    frames = [
        frame("d", here, order=4),
        frame("c", order=3, failed=True),
        frame("b", here, order=2, failed=True),
        frame("a", here, order=1),
        frame("e", order=5),
    ]

    # when
    answer = link(frames)

    # then
    assert tracks(answer) == [["a0", "d0"]]
    assert answer["missing_frames"] == ["b", "c"]


def test_order_decides_before_the_id() -> None:
    """Frames are taken by time; those without one come last, by their ids."""
    frames = [frame("a", (0, 0, 9, 9), order="2022-07-28T23:24"), frame("b", (0, 0, 9, 9), order="2022-07-28T23:22")]
    assert tracks(link(frames)) == [["b0", "a0"]]
    assert tracks(link([*frames, frame("0", (0, 0, 9, 9))])) == [["b0", "a0", "00"]]
    assert tracks(link([frame("x10", (0, 0, 9, 9), order=10), frame("x9", (0, 0, 9, 9), order=9)])) == [["x90", "x100"]]


def test_arrival_in_any_order_gives_the_same_tracks(found: list[list[Given]]) -> None:
    """Frames and detections shuffled, the answer is the same to the byte."""
    # given
    frames = found[0]
    wanted = link(frames)

    # when / then
    for seed in range(5):
        shuffled = random.Random(seed)
        mixed = [{**one, "detections": shuffled.sample(_list(one), len(_list(one)))} for one in frames]
        assert link(shuffled.sample(mixed, len(mixed))) == wanted


def test_made_insects_are_followed(nights: list[list[TrapFrame]], found: list[list[Given]]) -> None:
    """Found by Blobs and told by colours, at least nine in ten moves of made insects are linked, two wrong at most."""
    right = wrong = wanted = 0
    for frames, given in zip(nights, found, strict=True):
        followed = _followed(frames, given)
        for one, other in pairwise(followed):
            wanted += len(set(one) & set(other))
            pairs = [(a, b) for a in one for b in other if one[a] is not None and one[a] == other[b]]
            right += sum(a == b for a, b in pairs)
            wrong += sum(a != b for a, b in pairs)
    assert wanted > 60
    assert right >= 0.9 * wanted
    assert wrong <= 2


def test_events_are_answered_one_by_one() -> None:
    """Each event of a batch has its own answer; one that cannot be read spares the others."""
    # given
    good = [frame("a", (0, 0, 9, 9))]
    twice = [frame("a"), frame("a")]
    flat = [frame("a", (5, 5, 5, 9))]
    uneven = [frame("a", (0, 0, 9, 9)), frame("b", (0, 0, 9, 9))]
    for number, one in enumerate(uneven):
        one["detections"][0]["vector"] = [1.0] * (number + 1)  # type: ignore[index]  # a list, as made above

    # when
    answers = Tracker().infer([good, twice, flat, uneven, []])

    # then
    assert [str(one) for one in answers if isinstance(one, Exception)] == [
        "two frames of one event have the id a",
        "a detection of frame a has a box without an area",
        "two vectors of one event have 1 and 2 numbers and cannot be compared",
    ]
    assert answers[0] == {"tracks": [{"id": "track-a0", "detections": ["a0"], "costs": []}], "missing_frames": []}
    assert answers[-1] == {"tracks": [], "missing_frames": []}


def test_parameters_reach_the_links() -> None:
    """A tracker made with a lower threshold links less."""
    event = [frame("a", (0, 0, 90, 90)), frame("b", (60, 0, 150, 90))]
    strict, lax = (well(Tracker(threshold=threshold).infer([event]))[0] for threshold in (0.5, 1.6))
    assert (len(tracks(strict)), len(tracks(lax))) == (2, 1)
    with pytest.raises(ValueError, match="threshold is above 0"):
        Tracker(threshold=0)


def _list(one: Given) -> list[object]:
    found = one["detections"]
    assert isinstance(found, list)
    return found


def _followed(frames: Sequence[TrapFrame], given: Sequence[Given]) -> list[dict[str, str | None]]:
    """For each frame by true track the track that was found, None where the insect was not."""
    found = link(given)["tracks"]
    assert isinstance(found, list)
    track_of = {detection: one["id"] for one in found for detection in one["detections"]}
    answer = []
    for frame, one in zip(frames, given, strict=True):
        detections = [item for item in _list(one) if isinstance(item, dict)]
        pairs = matched([thing.box for thing in frame.things], boxes_of(one))
        answer.append(
            {
                thing.track: track_of[detections[pairs[row]]["id"]] if row in pairs else None
                for row, thing in enumerate(frame.things)
                if thing.label != "debris"
            }
        )
    return answer
