"""Any ONNX classifier with a manifest, on slices of the whole picture."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PIL import Image

from limner.systems.antenna.boxes import OutputRefused
from limner.systems.antenna.onnx_manifest import Manifest, Output
from limner.systems.antenna.onnx_pictures import Array, activated
from limner.systems.antenna.onnx_slices import OnSlices


class OnnxClassifier(OnSlices):
    """Labels of detections as a model gives them."""

    version = "1"
    output: ClassVar[Output] = "logits"

    def infer(self, image: list[Image.Image], box: list[Sequence[int]]) -> list[dict[str, object] | Exception]:
        """
        For each whole picture and box ``{"labels": [{"id", "name", "score"}, …], "full": float32[classes] or None}``.

        ``labels`` are the best ``top_k`` (10), best first; ``full`` holds the scores of all classes in the order of
        the manifest's labels, and is None where ``labels`` names them all.
        """
        return self.run(image, box, read=_labels)


def _labels(output: Array, *, manifest: Manifest) -> dict[str, object]:
    scores = activated(output.ravel(), how=manifest.how_to_score)
    if not np.isfinite(scores).all():
        raise OutputRefused("the model answered with numbers that are not finite")
    if manifest.labels and len(scores) != len(manifest.labels):
        raise OutputRefused(
            f"the model answered with {len(scores)} scores, but its manifest names {len(manifest.labels)} labels"
        )
    best = [int(one) for one in np.argsort(-scores, kind="stable")[: manifest.top_k]]
    named = [(manifest.label(one), float(scores[one])) for one in best]
    return {
        "labels": [{"id": label.id, "name": label.name, "score": score} for label, score in named],
        "full": scores.astype(np.float32) if len(scores) > manifest.top_k else None,
    }
