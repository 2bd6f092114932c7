"""One frame as a tracker sees it: its detections together."""

from collections.abc import Sequence


class Frame:
    """A gather over the detections of one capture."""

    version = "1"

    def infer(
        self, ids: list[list[str]], boxes: list[list[Sequence[int]]], vectors: list[list[Sequence[float] | None]]
    ) -> list[dict[str, object]]:
        """``{"detections": [{"id", "box", "vector" or None}]}`` of each capture."""
        return [
            {
                "detections": [
                    {"id": one, "box": list(box), "vector": None if vector is None else [float(x) for x in vector]}
                    for one, box, vector in zip(*frame, strict=True)
                ]
            }
            for frame in zip(ids, boxes, vectors, strict=True)
        ]
