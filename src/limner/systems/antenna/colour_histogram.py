"""The colours in a box as a unit vector: enough to know a moth again a minute later, without a model."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from limner.systems.antenna.boxes import slice_of


class ColourHistogram:
    """
    Counts of pixels over bins × bins × bins colours, square root, divided by the length.

    The dot product of two of them is the Bhattacharyya coefficient of their colour distributions.
    """

    version = "1"

    def __init__(self, *, bins: int = 6, margin: float = 0.0) -> None:
        """
        *bins* per channel; *margin*: part of the box's size that is looked at on each side beyond it.

        Raises:
            ValueError: a parameter is out of range.
        """
        if not 2 <= bins <= 32 or not 0 <= margin <= 1:
            raise ValueError(f"bins is 2 to 32 and margin 0 to 1, not {bins} and {margin}")
        self._bins = bins
        self._margin = margin

    def infer(self, image: list[Image.Image], box: list[Sequence[int]]) -> list[dict[str, object] | Exception]:
        """For each picture and box ``{"vector": float32[bins³] of length 1, "dim": bins³, "file": it again}``."""
        return [self._one(picture, edges) for picture, edges in zip(image, box, strict=True)]

    def _one(self, picture: Image.Image, edges: Sequence[int]) -> dict[str, object] | Exception:
        try:
            part = slice_of(picture, edges, margin=self._margin)
        except (OSError, ValueError) as error:
            return error
        vector = histogram(np.asarray(part, dtype=np.uint8).reshape(-1, 3), bins=self._bins)
        return {"vector": vector, "dim": len(vector), "file": vector}


def histogram(pixels: npt.NDArray[np.uint8], *, bins: int) -> npt.NDArray[np.float32]:
    """The unit histogram of *pixels*, shape (n, 3); index = bins²·red + bins·green + blue."""
    steps = pixels.astype(np.int32) * bins // 256
    colours = (steps[:, 0] * bins + steps[:, 1]) * bins + steps[:, 2]
    shares = np.bincount(colours, minlength=bins**3) / len(pixels)
    # The shares add up to 1, so their roots have length 1.
    return np.sqrt(shares).astype(np.float32)
