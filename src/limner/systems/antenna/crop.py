"""Cuts a detection out of its picture as a JPEG file."""

import io
from collections.abc import Sequence

from PIL import Image

from limner.systems.antenna.boxes import slice_of


class Crop:
    """The pixels of a box, and nothing else of the picture: no EXIF, no margin unless it is asked for."""

    version = "1"
    #: Another Pillow may write other bytes.
    environment = ("pillow",)

    def __init__(self, *, quality: int = 92, margin: float = 0.0) -> None:
        """
        *quality*: that of the JPEG, 1 to 95. *margin*: part of the box's size that is added on each side.

        Raises:
            ValueError: a parameter is out of range.
        """
        if not 1 <= quality <= 95 or not 0 <= margin <= 1:
            raise ValueError(f"quality is 1 to 95 and margin 0 to 1, not {quality} and {margin}")
        self._quality = quality
        self._margin = margin

    def infer(self, image: list[Image.Image], box: list[Sequence[int]]) -> list[dict[str, bytes] | Exception]:
        """For each picture and box ``{"crop": the bytes of a JPEG file}``."""
        return [self._one(picture, edges) for picture, edges in zip(image, box, strict=True)]

    def _one(self, picture: Image.Image, edges: Sequence[int]) -> dict[str, bytes] | Exception:
        try:
            part = slice_of(picture, edges, margin=self._margin)
        except (OSError, ValueError) as error:
            return error
        buffer = io.BytesIO()
        part.save(buffer, "JPEG", quality=self._quality)
        return {"crop": buffer.getvalue()}
