"""Sorts detections into large, medium, small and debris by size, filled area, contrast and elongation; no model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from limner.systems.antenna.boxes import MARGIN, slice_of

LABELS = ("large", "medium", "small", "debris")
#: Longest side of a typical box of each size, as a part of the picture's longest side; steps of about 2.2 times.
_TYPICAL = {"large": 0.075, "medium": 0.034, "small": 0.0155}
#: How far apart, in powers of e, two sizes are told apart well.
_SIZE_WIDTH = 0.4
#: Longest side, in pixels, on which a slice is looked at.
_LOOKED_AT = 96
#: Difference from the board, in channel values, from which a pixel counts as filled.
_FILLED = 24.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is measured of one detection."""

    #: Longest side of the box as a part of the longest side of the picture.
    size: float
    #: Part of the box that is not board.
    filled: float
    #: Mean difference of the filled part from the board, 0 to 1.
    contrast: float
    #: Long axis of the filled part by its short axis, at least 1.
    elongation: float


class SizeShape:
    """A demonstration of the path: it names no species and knows nothing of insects."""

    version = "1"
    #: Pillow decides how a slice is made smaller.
    environment = ("pillow",)

    def infer(self, image: list[Image.Image], box: list[Sequence[int]]) -> list[dict[str, object] | Exception]:
        """
        For each whole picture and box ``{"labels": [{"id", "name", "score"}, …], "full": None}``.

        All four labels, best first; their scores add up to 1.
        """
        return [self._one(picture, edges) for picture, edges in zip(image, box, strict=True)]

    def _one(self, picture: Image.Image, edges: Sequence[int]) -> dict[str, object] | Exception:
        try:
            shape = measure(picture, edges)
        except (OSError, ValueError) as error:
            return error
        scores = scores_of(shape)
        order = sorted(LABELS, key=lambda label: (-scores[label], LABELS.index(label)))
        return {"labels": [{"id": one, "name": one, "score": scores[one]} for one in order], "full": None}


def measure(picture: Image.Image, box: Sequence[int]) -> Shape:
    """
    The shape of what is in *box*; the board is the median colour along the rim of a slice with margin.

    Raises:
        ValueError: the box does not lie in the picture.
    """
    part = slice_of(picture, box, margin=MARGIN)
    part.thumbnail((_LOOKED_AT, _LOOKED_AT), Image.Resampling.BOX)
    pixels = np.asarray(part, dtype=np.float64)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    difference = np.abs(pixels - np.median(rim, axis=0)).max(axis=2)
    mask = difference > _FILLED
    x1, y1, x2, y2 = box
    grown = (1 + 2 * MARGIN) ** 2
    return Shape(
        size=max(x2 - x1, y2 - y1) / max(picture.size),
        filled=min(1.0, float(mask.mean()) * grown),
        contrast=float(difference[mask].mean()) / 255 if mask.any() else 0.0,
        elongation=_elongation(mask),
    )


def scores_of(shape: Shape) -> dict[str, float]:
    """
    The score of each label.

    Debris is faint, hardly fills its box, or is a line; what is left is shared between the sizes by the logarithm of
    the longest side.
    """
    faint = _falls(shape.contrast, around=0.13, width=0.025)
    empty = _falls(shape.filled, around=0.12, width=0.03)
    line = 1 - _falls(shape.elongation, around=9.0, width=1.0)
    # Small things are taken for debris more readily.
    speck = _falls(shape.size, around=0.0105, width=0.0008)
    debris = 1 - (1 - faint) * (1 - empty) * (1 - line) * (1 - speck)
    closeness = {
        label: math.exp(-((math.log(max(shape.size, 1e-6) / typical) / _SIZE_WIDTH) ** 2) / 2)
        for label, typical in _bounded(shape.size).items()
    }
    whole = sum(closeness.values())
    scores = {label: (1 - debris) * part / whole for label, part in closeness.items()}
    return {**scores, "debris": debris}


def _bounded(size: float) -> dict[str, float]:
    """The typical sizes; beyond the largest and the smallest what counts is on which side."""
    found = dict(_TYPICAL)
    found["large"] = max(found["large"], size)
    found["small"] = max(min(found["small"], size), 1e-6)
    return found


def _falls(value: float, *, around: float, width: float) -> float:
    """1 far below *around*, 0 far above, a half there."""
    return 1 / (1 + math.exp(min(50.0, max(-50.0, (value - around) / width))))


def _elongation(mask: npt.NDArray[np.bool_]) -> float:
    """Square root of the ratio of the main variances of the filled pixels' places."""
    down, across = np.nonzero(mask)
    if len(down) < 3:
        return 1.0
    # A pixel is a square, whose own variance keeps a line of pixels from being endlessly thin.
    spread = np.cov(np.stack([across, down])) + np.eye(2) / 12
    small, large = np.linalg.eigvalsh(spread)
    return float(math.sqrt(large / small))
