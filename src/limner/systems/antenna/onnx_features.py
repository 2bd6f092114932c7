"""Any ONNX model that makes vectors of pictures, on slices of the whole picture."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PIL import Image

from limner.systems.antenna.boxes import OutputRefused
from limner.systems.antenna.onnx_manifest import Manifest, Output
from limner.systems.antenna.onnx_pictures import Array
from limner.systems.antenna.onnx_slices import OnSlices


class OnnxFeatures(OnSlices):
    """Unit vectors of detections as a model gives them."""

    version = "1"
    output: ClassVar[Output] = "embedding"

    def infer(self, image: list[Image.Image], box: list[Sequence[int]]) -> list[dict[str, object] | Exception]:
        """For each whole picture and box ``{"vector": float32[dim] of length 1, "dim": int, "file": it again}``."""
        return self.run(image, box, read=_vector)


def _vector(output: Array, *, manifest: Manifest) -> dict[str, object]:
    numbers = np.asarray(output, dtype=np.float64).ravel()
    length = float(np.linalg.norm(numbers))
    if not np.isfinite(length) or length == 0:
        raise OutputRefused(f"the model's vector has length {length} and cannot be made a unit vector")
    vector = (numbers / length).astype(np.float32)
    return {"vector": vector, "dim": len(vector), "file": vector}
