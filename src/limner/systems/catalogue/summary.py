"""What the pictures of one work say about the work: their mean vectors, a colour, and how many are missing."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_Vectors = Sequence[npt.NDArray[np.float32] | None]


class WorkSummary:
    """Gathers the values of all images of a work; an image without a value is counted, never invented."""

    version = "1"

    def infer(
        self, palette: list[_Vectors], features: list[_Vectors], colour: list[Sequence[str | None]]
    ) -> list[dict[str, object] | Exception]:
        """
        For each work, given its images' values ordered by image id (None where there is none), a summary.

        ``palette`` and ``features`` are the mean of the unit vectors, unit again; ``average_color_hex`` is that of
        the first image that has one; ``images`` counts all images, ``missing`` those that lack any of the three.
        A field for which no image has a value is left out.
        """
        return [_summary(*work) for work in zip(palette, features, colour, strict=True)]


def _summary(palette: _Vectors, features: _Vectors, colour: Sequence[str | None]) -> dict[str, object] | Exception:
    if not len(palette) == len(features) == len(colour):
        return ValueError(
            f"a work's images need one value each: got {len(palette)} palettes, {len(features)} features "
            f"and {len(colour)} colours"
        )
    rows = list(zip(palette, features, colour, strict=True))
    try:
        found: dict[str, object | None] = {
            "palette": _mean(palette, name="palette"),
            "features": _mean(features, name="features"),
            "average_color_hex": next((value for value in colour if value is not None), None),
        }
    except ValueError as error:
        return error
    summary: dict[str, object] = {name: value for name, value in found.items() if value is not None}
    summary["images"] = len(rows)
    summary["missing"] = sum(any(value is None for value in row) for row in rows)
    return summary


def _mean(vectors: _Vectors, *, name: str) -> npt.NDArray[np.float32] | None:
    """The unit mean of those that are there; None where there is none or where they cancel out."""
    present = [np.asarray(vector, dtype=np.float64) for vector in vectors if vector is not None]
    if not present:
        return None
    widths = sorted({vector.shape for vector in present})
    if len(widths) > 1:
        raise ValueError(f"the {name} vectors of one work have different shapes, {widths}: they cannot be averaged")
    mean = np.mean(present, axis=0)
    length = float(np.linalg.norm(mean))
    return (mean / length).astype(np.float32) if length > 1e-9 else None
