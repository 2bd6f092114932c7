"""What the tests of the antenna’s inferrers share: matching boxes with true ones, and answers without errors."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from limner.systems.antenna.blobs import Blobs
from limner.systems.antenna.boxes import overlaps
from limner.systems.antenna.colour_histogram import ColourHistogram
from limner.systems.antenna.trap_pictures import CAMERA_TEXT, SCALE_BAR, TrapFrame

T = TypeVar("T")

#: A detector that knows where this camera's scale bar and text are.
IGNORED = [SCALE_BAR, CAMERA_TEXT]


def well(answers: Sequence[T | Exception]) -> list[T]:
    """The *answers*, none of which may be an error."""
    found = []
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        found.append(answer)
    return found


def box_of(detection: Mapping[str, object]) -> list[int]:
    """The box of a detection: four whole numbers."""
    box = detection["box"]
    assert isinstance(box, list)
    assert [type(edge) for edge in box] == [int] * 4
    return box


def boxes_of(frame: Mapping[str, object]) -> list[list[int]]:
    """The boxes of all detections of a frame as the tracker takes it."""
    detections = frame["detections"]
    assert isinstance(detections, list)
    return [box_of(one) for one in detections]


def matched(true: Sequence[Sequence[int]], found: Sequence[Sequence[int]], *, iou: float = 0.3) -> dict[int, int]:
    """One found box to one true box, best first, where they overlap by at least *iou*: rows by rows."""
    if not len(true) or not len(found):
        return {}
    shared = overlaps(np.array(true, dtype=np.float64), np.array(found, dtype=np.float64))
    pairs: dict[int, int] = {}
    for at in np.argsort(-shared, axis=None, kind="stable"):
        row, column = divmod(int(at), len(found))
        if shared[row, column] < iou:
            break
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return pairs


def detected(frame: TrapFrame, *, number: int, failed: bool = False) -> dict[str, object]:
    """One made frame as the tracker takes it: found by Blobs, with the colours of each detection."""
    (detections,) = well(Blobs(ignore=IGNORED).infer([frame.image]))
    boxes = [box_of(one) for one in detections]
    colours = well(ColourHistogram().infer([frame.image] * len(boxes), list(boxes)))
    return {
        "id": frame.name,
        "order": frame.taken_at.isoformat(),
        "size": list(frame.image.size),
        "failed": failed,
        "detections": []
        if failed
        else [
            {"id": f"{number}-{row}", "box": box, "vector": colour["vector"]}
            for row, (box, colour) in enumerate(zip(boxes, colours, strict=True))
        ],
    }
