"""From what a model service answers to the detections and labels of a picture; judged before anything is stored."""

import math
from collections.abc import Iterable, Mapping, Sequence

from limner.domain.values import Value
from limner.systems.antenna.process_wire import (
    Algorithm,
    AlgorithmName,
    BoundingBox,
    Classification,
    Detection,
    NotUnderstood,
    ProcessAnswer,
)

#: Labels of a classification that are kept.
TOP = 10
#: By how many pixels a box may reach over the picture's edge; it is cut there.
_OVER = 1.0


def children_of(
    answer: ProcessAnswer,
    *,
    image: str,
    algorithms: Mapping[str, Algorithm],
    size: tuple[int, int] | None = None,
) -> list[dict[str, Value]]:
    """
    The detections of the picture *image* as children ``{"box", "score", "origin", "classifications"}``.

    Empty where the service found nothing. ``score`` is None, for these services tell none of a box. A box that is
    named twice is one child with both classifications. *algorithms* are those declared, by key; *size* is that of the
    picture (width, height) as far as it is known.

    Raises:
        NotUnderstood: the answer is not about this picture, or something in it cannot be a result.
    """
    mine = [one for one in answer.detections if one.source_image_id == image]
    if not mine and image not in {one.id for one in answer.source_images}:
        raise NotUnderstood("The service's answer does not say that it processed the picture.")
    found: dict[tuple[int, ...], dict[str, Value]] = {}
    classified: dict[tuple[int, ...], list[dict[str, Value]]] = {}
    for detection in mine:
        maker = _declared(detection.algorithm, algorithms=algorithms)
        if detection.bbox is None:
            continue
        box = whole_box(detection.bbox, size=size)
        found.setdefault(box, {"box": list(box), "score": None, "origin": maker.key})
        classified.setdefault(box, []).extend(_classifications(detection, algorithms=algorithms))
    return [{**child, "classifications": classified[box]} for box, child in found.items()]


def labels_of(
    answer: ProcessAnswer, *, image: str, box: Sequence[int], algorithms: Mapping[str, Algorithm]
) -> list[dict[str, Value]]:
    """
    The labels of the detection with *box* in the picture *image*, best first: those of the last terminal classifier.

    Raises:
        NotUnderstood: the answer has none, or something in it cannot be a result.
    """
    found = [
        classification
        for detection in answer.detections
        if detection.source_image_id == image and detection.bbox is not None and _same(detection.bbox, box)
        for classification in detection.classifications
    ]
    for one in found:
        _declared(one.algorithm, algorithms=algorithms)
    last = [one for one in found if one.terminal][-1:] or found[-1:]
    if not last:
        raise NotUnderstood(f"The service's answer holds no classification of the box {list(box)}.")
    return _labels(last[0], algorithms=algorithms)


def whole_box(box: BoundingBox, *, size: tuple[int, int] | None) -> tuple[int, ...]:
    """
    *box* in whole pixels inside a picture of *size*: floor and ceil, then cut at its edges.

    Raises:
        NotUnderstood: it is empty, not finite, or reaches over an edge by more than a pixel.
    """
    edges = (box.x1, box.y1, box.x2, box.y2)
    width, height = size or (math.inf, math.inf)
    told = f"The box {', '.join(f'{edge:g}' for edge in edges)}"
    if not all(map(math.isfinite, edges)) or box.x1 >= box.x2 or box.y1 >= box.y2:
        raise NotUnderstood(f"{told} holds no pixel.")
    if min(box.x1, box.y1) < -_OVER or box.x2 > width + _OVER or box.y2 > height + _OVER:
        where = f"a picture of {width} × {height}" if size else "the picture"
        raise NotUnderstood(f"{told} does not lie in {where}.")
    x1, y1 = max(0, math.floor(box.x1)), max(0, math.floor(box.y1))
    x2, y2 = (int(min(limit, math.ceil(edge))) for edge, limit in ((box.x2, width), (box.y2, height)))
    if x1 >= x2 or y1 >= y2:
        raise NotUnderstood(f"{told} holds no pixel of the picture.")
    return x1, y1, x2, y2


def _classifications(detection: Detection, *, algorithms: Mapping[str, Algorithm]) -> Iterable[dict[str, Value]]:
    for one in detection.classifications:
        maker = _declared(one.algorithm, algorithms=algorithms)
        yield {
            "algorithm": maker.key,
            "version": maker.told_version,
            "terminal": one.terminal,
            "labels": _labels(one, algorithms=algorithms),
        }


def _declared(named: AlgorithmName, *, algorithms: Mapping[str, Algorithm]) -> Algorithm:
    if named.key not in algorithms:
        known = ", ".join(sorted(algorithms)) or "none"
        raise NotUnderstood(f"The algorithm {named.key!r} is not one that the service declares; it declares: {known}.")
    return algorithms[named.key]


def _labels(one: Classification, *, algorithms: Mapping[str, Algorithm]) -> list[dict[str, Value]]:
    """``{"id", "name", "score"}`` of the best labels; an id is the label's index among the classifier's, if known."""
    categories = algorithms[one.algorithm.key].category_map
    every = list(categories.labels) if categories else []
    names = one.labels
    if names is None:
        names = every if len(every) == len(one.scores) else [one.classification]
    if len(names) != len(one.scores) or not names:
        told = f"{len(names)} labels and {len(one.scores)} scores"
        raise NotUnderstood(f"A classification by {one.algorithm.key!r} has {told}; there is one score for each label.")
    if not all(map(math.isfinite, one.scores)):
        raise NotUnderstood(f"A classification by {one.algorithm.key!r} has a score that is no finite number.")
    ids = {name: str(index) for index, name in enumerate(every)}
    order = sorted(range(len(names)), key=lambda at: -one.scores[at])[:TOP]
    return [{"id": ids.get(names[at], names[at]), "name": names[at], "score": one.scores[at]} for at in order]


def _same(one: BoundingBox, box: Sequence[int]) -> bool:
    """Whether a box that came back is the one that was sent."""
    return all(abs(edge - sent) < _OVER for edge, sent in zip((one.x1, one.y1, one.x2, one.y2), box, strict=True))
