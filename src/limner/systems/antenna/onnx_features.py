"""Any ONNX model that makes vectors of pictures, on slices of the whole picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from limner.systems.antenna.boxes import MARGIN, OutputRefused
from limner.systems.antenna.onnx_manifest import Manifest
from limner.systems.antenna.onnx_pictures import Array, OnnxPictures
from limner.systems.antenna.onnx_slices import run_slices


class OnnxFeatures:
    """Unit vectors of detections as a model gives them."""

    version = "1"
    #: Pillow decides how a slice is resized.
    environment = ("pillow",)

    def __init__(
        self,
        *,
        model: Path,
        manifest: Mapping[str, object] | None = None,
        margin: float = MARGIN,
        device: str = "cpu",
        threads: int = 1,
        batch: int = 32,
    ) -> None:
        """
        Load *model*; *manifest* is the one beside it, else the file's own (see ``onnx_manifest``).

        *margin*: part of the box's size that is shown on each side beyond it.

        Raises:
            ValueError: file, manifest and device do not fit together.
        """
        self._model = OnnxPictures(
            model, manifest=manifest, outputs=("embedding",), device=device, threads=threads, batch=batch
        )
        self._margin = margin

    def infer(self, image: list[Image.Image], box: list[Sequence[int]]) -> list[dict[str, object] | Exception]:
        """For each whole picture and box ``{"vector": float32[dim] of length 1, "dim": int, "file": it again}``."""
        return run_slices(self._model, image, box, margin=self._margin, read=_vector)


def _vector(output: Array, *, manifest: Manifest) -> dict[str, object]:
    numbers = np.asarray(output, dtype=np.float64).ravel()
    length = float(np.linalg.norm(numbers))
    if not np.isfinite(length) or length == 0:
        raise OutputRefused(f"the model's vector has length {length} and cannot be made a unit vector")
    vector = (numbers / length).astype(np.float32)
    return {"vector": vector, "dim": len(vector), "file": vector}
