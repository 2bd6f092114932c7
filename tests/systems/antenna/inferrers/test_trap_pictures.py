"""Made nights: the same for the same seed, with boxes and tracks that are exact."""

import io
import json
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.domain.failures import FailedRecord
from limner.domain.reads import FileRead
from limner.inferrers.pictures import decode_picture
from limner.systems.antenna.trap_files import write_broken_files, write_odd_files
from limner.systems.antenna.trap_insects import DEBRIS, INSECTS, drawn, look
from limner.systems.antenna.trap_pictures import TrapFrame, empty_board, label_of, night, write_night

SMALL = (512, 288)


def test_same_seed_same_bytes() -> None:
    """A night is the same to the byte for the same seed, and another for another."""
    one, again, other = ([frame.jpeg() for frame in night(seed=seed, frames=2, size=SMALL)] for seed in (1, 1, 2))
    assert one == again
    assert one[0] != other[0]
    assert one[0] != one[1]


def test_boxes_are_where_the_pixels_changed() -> None:
    """Against the empty board, every box is full of change and little is changed outside of the boxes."""
    # given
    (frame,) = night(seed=8, frames=1, things=10, size=(1024, 576), furniture=False)
    board = np.asarray(empty_board((1024, 576), seed=8, furniture=False), dtype=np.float64)

    # when
    changed = np.abs(np.asarray(frame.image, dtype=np.float64) - board).max(axis=2) > 30
    inside = np.zeros_like(changed)
    for thing in frame.things:
        x1, y1, x2, y2 = thing.box
        inside[y1:y2, x1:x2] = True
        if thing.label != "debris":
            for edge in (changed[y1 : y1 + 3, x1:x2], changed[y1:y2, x1 : x1 + 3]):
                assert edge.any()

    # then
    assert len(frame.things) == 10
    assert changed[inside].mean() > 0.3
    assert changed[~inside].mean() < 0.002


def test_things_never_overlap(nights: list[list[TrapFrame]]) -> None:
    """No two boxes of a frame share a pixel, and all lie in the picture."""
    for frames in nights:
        for frame in frames:
            for one in frame.things:
                assert 0 <= one.box[0] < one.box[2] <= frame.image.width
                assert 0 <= one.box[1] < one.box[3] <= frame.image.height
            for one, other in combinations(frame.things, 2):
                apart = one.box[2] <= other.box[0] or other.box[2] <= one.box[0]
                assert apart or one.box[3] <= other.box[1] or other.box[3] <= one.box[1]


def test_insects_move_and_debris_lies(nights: list[list[TrapFrame]]) -> None:
    """From frame to frame most insects change their place a little, and debris never does."""
    # given
    moved: dict[bool, list[bool]] = {True: [], False: []}

    # when
    for frames in nights:
        for one, other in pairwise(frames):
            before = {thing.track: thing for thing in one.things}
            for thing in other.things:
                if thing.track in before:
                    moved[thing.label == "debris"].append(thing.box != before[thing.track].box)

    # then
    assert not any(moved[True])
    assert np.mean(moved[False]) > 0.8


def test_some_insects_come_and_go() -> None:
    """Over a long night some insects are not in every frame, and the same one is never there twice."""
    frames = list(night(seed=9, frames=6, things=20, size=SMALL))
    seen = [[thing.track for thing in frame.things] for frame in frames]
    assert all(len(set(tracks)) == len(tracks) for tracks in seen)
    assert set(seen[0]) != set(seen[-1])
    assert len(set(seen[0]) & set(seen[-1])) > 5


def test_labels_are_by_size() -> None:
    """The label of an insect says its longest side as a part of the picture's."""
    assert [label_of((0, 0, side, 10), size=(1000, 500)) for side in (80, 35, 16)] == ["large", "medium", "small"]


def test_kinds_are_drawn_as_large_as_asked() -> None:
    """Every kind of insect and debris is visible, about as long as asked, and alike for one look."""
    for kind in (*INSECTS, *DEBRIS):
        patch = drawn(look(kind, seed=4), length=200, angle=0)
        assert 90 <= max(patch.size) <= 215
        assert patch.tobytes() == drawn(look(kind, seed=4), length=200, angle=0).tobytes()
        assert np.asarray(patch.getchannel("A")).any()


def test_sizes_from_tiny_to_large() -> None:
    """A night may have pictures of any size, from a few pixels to those of real cameras."""
    for size in ((48, 32), (300, 700), (4096, 2160)):
        (frame,) = night(seed=2, frames=1, things=3, size=size)
        assert frame.image.size == size


def test_empty_nights_have_empty_boards() -> None:
    """With no things there is a board and no truth."""
    (frame,) = night(seed=2, frames=1, things=0, size=SMALL)
    assert frame.things == ()


def test_written_nights_carry_time_and_truth(tmp_path: Path) -> None:
    """The files have the time in EXIF and name, a minute apart, and the truth stands beside them."""
    # given
    frames = list(night(seed=3, frames=2, things=4, size=SMALL))

    # when
    paths = write_night(tmp_path, iter(frames))

    # then
    assert [path.name for path in paths] == ["20220728232239-01-snapshot.jpg", "20220728232339-02-snapshot.jpg"]
    with Image.open(paths[1]) as picture:
        assert picture.getexif()[0x0132] == "2022:07:28 23:23:39"
        assert picture.format == "JPEG"
    truth = json.loads((tmp_path / "truth.json").read_text())["pictures"]
    first = truth[paths[0].name]
    assert [tuple(one[edge] for edge in ("x1", "y1", "x2", "y2")) for one in first] == [
        thing.box for thing in frames[0].things
    ]
    assert [one["track"] for one in first] == [thing.track for thing in frames[0].things]


def test_broken_files_fail_with_their_code(tmp_path: Path) -> None:
    """Each broken file is refused by the platform's decoder with the code that it was made for."""
    found = {}
    for one in write_broken_files(tmp_path):
        with pytest.raises(FailedRecord) as refused:
            decode_picture(one.path, read=FileRead())
        found[one.path.name] = refused.value.failure.code.value
    assert found == {one.path.name: one.code for one in write_broken_files(tmp_path)}
    assert set(found.values()) == {"SOURCE_TRUNCATED", "SOURCE_WRONG_TYPE", "SOURCE_TOO_LARGE", "DECODE_FAILED"}


def test_odd_files_are_legal(tmp_path: Path) -> None:
    """Each odd file is decoded to RGB of its stored size; the same seed writes the same bytes."""
    # given
    files = write_odd_files(tmp_path / "one")
    again = write_odd_files(tmp_path / "again")

    # when / then
    for one, other in zip(files, again, strict=True):
        picture = decode_picture(one.path, read=FileRead(upright=False))
        assert (picture.mode, picture.size) == ("RGB", one.size)
        assert one.path.read_bytes() == other.path.read_bytes()
    modes = set()
    for one in files:
        with Image.open(io.BytesIO(one.path.read_bytes())) as picture:
            modes.add(picture.mode)
    assert modes >= {"L", "I;16", "P", "RGBA", "CMYK", "RGB"}
