"""Arithmetic of boxes in stored pixels: whole numbers, slices of a picture, overlap, and suppression of doubles."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Doubles = npt.NDArray[np.float64]
Box = list[int]

#: A slice for a classifier shows this part of the box's size more on each side.
MARGIN = 0.1


class OutputRefused(ValueError):
    """What a model answered cannot be a result; the record alone fails."""

    code = "OUTPUT_INVALID"


def whole_box(edges: Sequence[float], *, size: tuple[int, int]) -> Box:
    """
    *edges* (x1, y1, x2, y2) as whole pixels within a picture of *size* (width, height).

    Floor and ceil, then clamped; never empty: x2 > x1 and y2 > y1.

    Raises:
        OutputRefused: an edge is not a finite number.
    """
    if not all(math.isfinite(edge) for edge in edges):
        raise OutputRefused(f"a box has edges that are not finite: {', '.join(str(edge) for edge in edges)}")
    x1, x2 = _span(edges[0], edges[2], most=size[0])
    y1, y2 = _span(edges[1], edges[3], most=size[1])
    return [x1, y1, x2, y2]


def checked(box: Sequence[int], *, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """
    *box* as four whole numbers, if it lies in a picture of *size* and is not empty.

    Raises:
        OutputRefused: it does not; the sentence names both.
    """
    if len(box) != 4:
        raise OutputRefused(f"a box is [x1, y1, x2, y2], not {list(box)}")
    x1, y1, x2, y2 = (int(edge) for edge in box)
    if not (0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]):
        raise OutputRefused(f"the box {[x1, y1, x2, y2]} does not lie in its picture of {size[0]} × {size[1]} pixels")
    return x1, y1, x2, y2


def slice_of(picture: Image.Image, box: Sequence[int], *, margin: float = 0.0) -> Image.Image:
    """The part of the whole *picture* in *box*, *margin* of the box's size more on each side, as RGB."""
    x1, y1, x2, y2 = checked(box, size=picture.size)
    across, down = round(margin * (x2 - x1)), round(margin * (y2 - y1))
    wider = (max(0, x1 - across), max(0, y1 - down), min(picture.width, x2 + across), min(picture.height, y2 + down))
    part = picture.crop(wider)
    return part if part.mode == "RGB" else part.convert("RGB")


def overlaps(some: Doubles, others: Doubles) -> Doubles:
    """Intersection over union of each of *some* (n, 4) with each of *others* (m, 4): shape (n, m)."""
    left_top = np.maximum(some[:, np.newaxis, :2], others[np.newaxis, :, :2])
    right_bottom = np.minimum(some[:, np.newaxis, 2:], others[np.newaxis, :, 2:])
    shared = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    union = areas(some)[:, np.newaxis] + areas(others)[np.newaxis, :] - shared
    found: Doubles = shared / np.maximum(union, np.finfo(np.float64).tiny)
    return found


def areas(boxes: Doubles) -> Doubles:
    """The area of each of *boxes* (n, 4)."""
    found: Doubles = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return found


def best_first(boxes: Doubles, scores: Doubles, *, classes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The rows by score; equal scores in the order of class and edges, so that the order of coming does not matter."""
    return np.lexsort((*boxes.T[::-1], classes, -scores))


def without_doubles(boxes: Doubles, scores: Doubles, *, classes: npt.NDArray[np.intp], iou: float) -> list[int]:
    """
    The rows that stay when of two boxes of one class that overlap by more than *iou* only the better is kept.

    Best first. Greedy non-maximum suppression.
    """
    order = best_first(boxes, scores, classes=classes)
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        double = overlaps(boxes[best : best + 1], boxes[order])[0] > iou
        order = order[~(double & (classes[order] == classes[best]))]
    return kept


def _span(start: float, stop: float, *, most: int) -> tuple[int, int]:
    first = min(max(math.floor(start), 0), most - 1)
    return first, min(max(math.ceil(stop), first + 1), most)
