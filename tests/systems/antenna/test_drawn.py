"""Pictures with what was found on them drawn in."""

import io

import numpy as np
from PIL import Image

from limner.domain.values import Value
from limner.systems.antenna.drawn import drawn

WHITE = (255, 255, 255)


def detection(box: tuple[int, int, int, int], *, label: str = "moth", track: str | None = None) -> dict[str, Value]:
    """A detection as a callback tells it."""
    return {
        "boundingBox": dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
        "classifications": [{"labelNames": [label, "other"], "scores": [0.9, 0.1]}],
        "trackId": track,
    }


def opened(content: bytes) -> Image.Image:
    """The picture in the bytes of a file."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def changed(before: Image.Image, after: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which pixels are plainly others now."""
    difference = np.abs(np.asarray(before, dtype=int) - np.asarray(after, dtype=int)).max(axis=2)
    found: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = difference > 60
    return found


def test_box_is_drawn_where_it_is() -> None:
    """The frame lies on the edges of the box, and the middle of it and the rest of the picture are as they were."""
    # given
    board = Image.new("RGB", (400, 300), WHITE)

    # when
    after = changed(board, opened(drawn(board, [detection((100, 120, 200, 220))])))

    # then
    assert after[120:220, 100].all()
    assert after[120, 110:190].all()
    assert not after[140:200, 120:180].any()
    assert not after[240:, :].any()


def test_one_track_one_colour() -> None:
    """The same track has the same colour on every picture, and another one another."""
    # given
    board = Image.new("RGB", (400, 300), WHITE)
    boxes = [detection((40, 60, 90, 110), track="one"), detection((240, 60, 290, 110), track="two")]

    # when
    first, second = opened(drawn(board, boxes)), opened(drawn(board, boxes[:1]))

    # then
    one, again, two = (np.asarray(picture)[90, at] for picture, at in ((first, 40), (second, 40), (first, 240)))
    assert np.allclose(one, again, atol=25)
    assert not np.allclose(one, two, atol=60)


def test_words_stay_on_the_picture() -> None:
    """A box at the upper edge has its words below it."""
    # given
    board = Image.new("RGB", (400, 300), WHITE)

    # when
    after = changed(board, opened(drawn(board, [detection((100, 0, 200, 60), track="seven")])))

    # then
    assert after[62:80, 100:160].any()


def test_width_is_kept() -> None:
    """A smaller picture shows the boxes at their places in it."""
    # given
    board = Image.new("RGB", (800, 600), WHITE)

    # when
    found = opened(drawn(board, [detection((200, 200, 600, 400))], width=400))

    # then
    assert found.size == (400, 300)
    assert changed(Image.new("RGB", (400, 300), WHITE), found)[110:190, 100].all()
