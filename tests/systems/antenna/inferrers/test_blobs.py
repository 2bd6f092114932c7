"""Blobs finds what is unlike the board, in whole pixels of the picture as stored."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from limner.domain.reads import FileRead
from limner.inferrers.pictures import decode_picture
from limner.systems.antenna.blobs import Blobs, board_of
from limner.systems.antenna.trap_files import write_odd_files
from limner.systems.antenna.trap_pictures import SCALE_BAR, TrapFrame, empty_board, night
from tests.systems.antenna.inferrers.matching import box_of, boxes_of, matched, well

BOARD = (222, 218, 226)


def plain(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (1200, 800)) -> Image.Image:
    """A plain board with dark boxes on it."""
    picture = Image.new("RGB", size, BOARD)
    for x1, y1, x2, y2 in boxes:
        ImageDraw.Draw(picture).rectangle((x1, y1, x2 - 1, y2 - 1), fill=(70, 50, 40))
    return picture


def found_in(picture: Image.Image, detector: Blobs | None = None) -> list[list[int]]:
    """The boxes found in *picture*, best first."""
    (detections,) = well((detector or Blobs()).infer([picture]))
    return [box_of(one) for one in detections]


def test_insects_of_made_nights_are_found(nights: list[list[TrapFrame]], found: list[list[dict[str, object]]]) -> None:
    """Of the insects on made pictures at least 95 in 100 are found, with at most one extra a picture."""
    # given
    frames = [frame for frames in nights for frame in frames]
    answers = [answer for answers in found for answer in answers]

    # when
    insects = hits = extras = 0
    for frame, answer in zip(frames, answers, strict=True):
        boxes = boxes_of(answer)
        pairs = matched([thing.box for thing in frame.things], boxes)
        wanted = [row for row, thing in enumerate(frame.things) if thing.label != "debris"]
        insects, hits = insects + len(wanted), hits + sum(row in pairs for row in wanted)
        extras += len(boxes) - len(pairs)

    # then
    assert insects > 80
    assert hits >= 0.95 * insects
    assert extras <= len(frames)


def test_boxes_hold_the_insects_tightly() -> None:
    """A box is exact to within the pixels of the shrunken picture, and its score is the contrast."""
    # given
    wanted = [200, 304, 320, 400]

    # when
    (detections,) = well(Blobs().infer([plain((200, 304, 320, 400))]))

    # then
    (one,) = detections
    assert np.abs(np.array(box_of(one)) - wanted).max() <= 4
    assert one["origin"] == "blobs"
    assert one["score"] == pytest.approx((226 - 40) / 255, abs=0.08)


def test_all_sizes_of_pictures() -> None:
    """From a few pixels to 4096 × 2160, boxes are in stored pixels and inside."""
    for width, height in ((96, 64), (640, 480), (4096, 2160), (480, 1600)):
        box = (width // 4, height // 4, width // 4 + width // 8, height // 4 + height // 8)
        (found,) = found_in(plain(box, size=(width, height)))
        assert np.abs(np.array(found) - box).max() <= max(2, max(width, height) / 256)


def test_insects_at_the_edge_are_clamped() -> None:
    """What touches the edges of the picture is found, and its box stays inside."""
    found = found_in(plain((0, 0, 90, 70), (1110, 720, 1200, 800)))
    assert sorted(found)[0][:2] == [0, 0]
    assert sorted(found)[1][2:] == [1200, 800]


@pytest.mark.parametrize("picture", [Image.new("RGB", (640, 360), BOARD), Image.new("RGB", (1, 1)), plain()])
def test_blank_pictures_have_no_insects(picture: Image.Image) -> None:
    """A picture without anything on it is a result of no detections."""
    assert found_in(picture) == []


def test_uneven_light_is_no_insect() -> None:
    """A board whose light falls off towards its edges is empty."""
    assert found_in(empty_board((1024, 540), seed=3, furniture=False)) == []


def test_pale_insects_differ_by_colour() -> None:
    """An insect as light as the board, but of another colour, is found."""
    picture = Image.new("RGB", (1000, 600), (220, 220, 220))
    ImageDraw.Draw(picture).ellipse((300, 200, 400, 260), fill=(220, 220, 165))
    assert len(found_in(picture)) == 1


def test_large_and_small_things_are_dropped() -> None:
    """Neither a speck nor what covers a third of the picture is an insect."""
    assert found_in(plain((100, 100, 108, 108), (300, 100, 1000, 600))) == []


def test_regions_are_ignored() -> None:
    """What has its centre in an ignored region is dropped; the scale bar is such a region."""
    # given
    board = empty_board((2048, 1080), seed=4)

    # when
    whole, ignoring = found_in(board), found_in(board, Blobs(ignore=[SCALE_BAR]))

    # then
    assert whole
    assert ignoring == []


def test_background_takes_the_stains_out(tmp_path: Path) -> None:
    """With a picture of the empty board its furniture is no difference, although the light has changed."""
    # given
    empty = plain((500, 300, 640, 380))
    empty.save(tmp_path / "empty.png")
    darker = plain((500, 300, 640, 380), (900, 500, 1000, 600)).point(lambda value: max(0, value - 12))

    # when
    found = found_in(darker, Blobs(background=str(tmp_path / "empty.png")))

    # then
    assert len(found) == 1
    assert np.abs(np.array(found[0]) - [900, 500, 1000, 600]).max() <= 4


def test_only_the_best_are_kept() -> None:
    """Of more detections than are allowed those with the highest score stay, best first."""
    # given
    picture = plain((100, 100, 180, 180), (400, 100, 480, 180))
    ImageDraw.Draw(picture).rectangle((700, 100, 780, 180), fill=(150, 150, 150))

    # when
    found = found_in(picture, Blobs(max_detections=2))

    # then
    assert [box[0] < 600 for box in found] == [True, True]


def test_higher_threshold_finds_less() -> None:
    """The threshold decides what is faint."""
    picture = Image.new("RGB", (1000, 600), (220, 220, 220))
    ImageDraw.Draw(picture).ellipse((300, 200, 400, 260), fill=(150, 150, 150))
    assert len(found_in(picture, Blobs(threshold=18))) == 1
    assert found_in(picture, Blobs(threshold=60)) == []


def test_odd_pictures_are_no_trouble(tmp_path: Path) -> None:
    """Every odd but legal file is answered, with boxes inside its stored pixels, all in one call."""
    # given
    files = write_odd_files(tmp_path)
    pictures = [decode_picture(one.path, read=FileRead(upright=False)) for one in files]

    # when
    answers = well(Blobs().infer(pictures))

    # then
    for one, detections in zip(files, answers, strict=True):
        assert one.size is not None
        for x1, y1, x2, y2 in (box_of(found) for found in detections):
            assert 0 <= x1 < x2 <= one.size[0]
            assert 0 <= y1 < y2 <= one.size[1]


def test_batches_and_single_pictures_agree(nights: list[list[TrapFrame]]) -> None:
    """The batch in which a picture comes changes nothing."""
    pictures = [frame.image for frame in nights[1][:2]]
    assert Blobs().infer(pictures) == [answer for picture in pictures for answer in Blobs().infer([picture])]


def test_parameters_that_make_no_sense_are_told() -> None:
    """A wrong parameter is a sentence when the detector is made."""
    with pytest.raises(ValueError, match="threshold above 0"):
        Blobs(threshold=0)
    with pytest.raises(ValueError, match="region to ignore"):
        Blobs(ignore=[(0.5, 0.5, 0.2, 0.9)])
    with pytest.raises(ValueError, match=r"background nowhere\.png cannot be read"):
        Blobs(background="nowhere.png")
    with pytest.raises(ValueError, match="parts of the picture"):
        Blobs(largest=25)


def test_board_is_guessed_behind_insects() -> None:
    """The board behind a dark box has the colour around it."""
    pixels = np.asarray(plain((400, 300, 560, 400), size=(1024, 640)), dtype=np.float32)
    assert np.abs(board_of(pixels) - BOARD).max() < 3


@pytest.mark.timed
@pytest.mark.slow
def test_one_large_picture_takes_little_time() -> None:
    """A picture of 4096 × 2160 takes at most ten times the processor time of decoding its JPEG file."""
    # given
    picture = next(night(seed=31, frames=1, size=(4096, 2160))).image
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    detector = Blobs()

    # when
    decoding, finding = [], []
    for _ in range(5):
        decoding.append(_processor_time(lambda: Image.open(io.BytesIO(file.getvalue())).load()))
        finding.append(_processor_time(lambda: detector.infer([picture])))

    # then
    assert min(finding) <= 10 * min(decoding)


def _processor_time(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began
