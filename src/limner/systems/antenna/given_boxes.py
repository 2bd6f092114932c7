"""Boxes that came with the request in place of a detector's."""

import math
from collections.abc import Mapping, Sequence

from PIL import Image


class GivenBoxes:
    """Takes boxes as they were given, brought to whole pixels inside the picture."""

    version = "1"

    def infer(
        self, boxes: list[Sequence[Mapping[str, float]]], image: list[Image.Image]
    ) -> list[list[dict[str, object]] | Exception]:
        """Children ``{"box", "score", "origin"}`` of each picture; a box without a pixel in it fails the picture."""
        return [_children(given, picture.size) for given, picture in zip(boxes, image, strict=True)]


def _children(given: Sequence[Mapping[str, float]], size: tuple[int, int]) -> list[dict[str, object]] | Exception:
    width, height = size
    found: list[dict[str, object]] = []
    for one in given:
        x1, y1 = max(0, math.floor(one["x1"])), max(0, math.floor(one["y1"]))
        x2, y2 = min(width, math.ceil(one["x2"])), min(height, math.ceil(one["y2"]))
        if x2 <= x1 or y2 <= y1:
            return ValueError(f"The given box {dict(one)} holds no pixel of a picture of {width} × {height}.")
        found.append({"box": [x1, y1, x2, y2], "score": 1.0, "origin": "given"})
    return found
