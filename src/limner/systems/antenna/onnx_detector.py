"""Any ONNX detector with a manifest: boxes in stored pixels, of whole pictures or of overlapping tiles."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from limner.systems.antenna.boxes import Doubles, OutputRefused, best_first, whole_box, without_doubles
from limner.systems.antenna.onnx_manifest import Manifest, Tiling
from limner.systems.antenna.onnx_pictures import Array, OnnxPictures, Placed, activated

#: A tile and where its corner lies in the picture.
_Tile = tuple[Image.Image, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What was found, in pixels of one picture."""

    #: Shape (n, 4).
    boxes: Doubles
    #: Shape (n, classes); a model that names one class a box scores the others 0.
    scores: Doubles

    @property
    def best(self) -> Doubles:
        """The score of each box: that of its best class."""
        found: Doubles = self.scores.max(axis=1)
        return found

    @property
    def classes(self) -> npt.NDArray[np.intp]:
        """The best class of each box."""
        found: npt.NDArray[np.intp] = self.scores.argmax(axis=1)
        return found

    def only(self, rows: Sequence[int] | npt.NDArray[np.generic]) -> "_Found":
        """The *rows* of it."""
        return _Found(boxes=self.boxes[rows], scores=self.scores[rows])


class OnnxDetector:
    """Children of a picture as its model finds them; one that tells classes apart classifies them as well."""

    version = "1"
    #: Pillow decides how a picture is made smaller.
    environment = ("pillow",)

    def __init__(
        self,
        *,
        model: Path,
        manifest: Mapping[str, object] | None = None,
        device: str = "cpu",
        threads: int = 1,
        batch: int = 8,
    ) -> None:
        """
        Load *model*; *manifest* is the one beside it, else the file's own (see ``onnx_manifest``).

        Outputs of ``xyxy-scores-labels`` are three tensors in this order: (n, 4), (n), (n), or the same with a batch
        axis before. ``yolo`` is one tensor (batch, 4 + classes, boxes), or (batch, boxes, 5 + classes) with a score
        for there being anything in fifth place; boxes are centre, width and height.

        Raises:
            ValueError: file, manifest and device do not fit together.
        """
        self._model = OnnxPictures(
            model,
            manifest=manifest,
            outputs=("xyxy-scores-labels", "yolo"),
            device=device,
            threads=threads,
            batch=batch,
        )
        self._manifest = self._model.manifest
        self._batch = batch

    def infer(self, image: list[Image.Image]) -> list[list[dict[str, object]] | Exception]:
        """
        For each RGB picture its detections, best first; an empty list where there is none.

        Each is ``{"box": [x1, y1, x2, y2], "score", "origin": "onnx-detector"}``; with more than one label also
        ``"classifications": [{"labels": [{"id", "name", "score"}, …]}]``, best first. Boxes are cut at the picture's
        edges. Numbers that are not finite fail their picture as OUTPUT_INVALID.
        """
        answers: list[list[_Found] | Exception] = [[] for _ in image]
        tiles = ((at, tile) for at, picture in enumerate(image) for tile in _tiles(picture, self._manifest.tiling))
        while some := list(islice(tiles, self._batch)):
            ran = self._model.run([tile for _, (tile, _) in some])
            for (at, (_, corner)), (outputs, placed) in zip(some, ran, strict=True):
                _collect(answers, at, outputs, placed=placed, corner=corner, manifest=self._manifest)
        return [self._detections(found, picture) for found, picture in zip(answers, image, strict=True)]

    def _detections(
        self, answer: list[_Found] | Exception, picture: Image.Image
    ) -> list[dict[str, object]] | Exception:
        if isinstance(answer, Exception):
            return answer
        try:
            found = _merged(answer, size=picture.size, manifest=self._manifest)
            return [self._detection(found, row, size=picture.size) for row in range(len(found.boxes))]
        except ValueError as error:
            return error

    def _detection(self, found: _Found, row: int, *, size: tuple[int, int]) -> dict[str, object]:
        scores = found.scores[row]
        detection: dict[str, object] = {
            "box": whole_box(found.boxes[row].tolist(), size=size),
            "score": float(found.best[row]),
            "origin": "onnx-detector",
        }
        if len(self._manifest.labels) > 1:
            order = [int(one) for one in np.argsort(-scores, kind="stable")[: self._manifest.top_k] if scores[one] > 0]
            named = [(self._manifest.label(one), float(scores[one])) for one in order]
            labels = [{"id": label.id, "name": label.name, "score": score} for label, score in named]
            detection["classifications"] = [{"labels": labels}]
        return detection


def _collect(
    answers: list[list[_Found] | Exception],
    at: int,
    outputs: list[Array],
    *,
    placed: Placed,
    corner: tuple[int, int],
    manifest: Manifest,
) -> None:
    """Add what was found in one tile of picture *at*; a tile that cannot be read fails its picture."""
    known = answers[at]
    if isinstance(known, Exception):
        return
    try:
        found = _read(outputs, manifest=manifest)
    except ValueError as error:
        answers[at] = error
        return
    known.append(_Found(boxes=placed.back(found.boxes) + np.tile(corner, 2), scores=found.scores))


def _read(outputs: list[Array], *, manifest: Manifest) -> _Found:
    """The candidates above the threshold in one picture's *outputs*, in pixels of the input."""
    read = _read_yolo if manifest.output == "yolo" else _read_lists
    found = read(outputs, manifest=manifest)
    if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
        raise OutputRefused("the model answered with numbers that are not finite")
    if manifest.coordinates == "parts":
        height, width = manifest.input.size
        found = _Found(boxes=found.boxes * [width, height, width, height], scores=found.scores)
    return found.only(np.flatnonzero(found.best >= manifest.threshold)) if len(found.boxes) else found


def _read_lists(outputs: list[Array], *, manifest: Manifest) -> _Found:
    if len(outputs) < 3:
        raise OutputRefused(f"the model has {len(outputs)} outputs; boxes, scores and labels are wanted")
    boxes, scores, numbers = (np.asarray(one) for one in outputs[:3])
    if boxes.shape != (len(scores), 4) or scores.shape != numbers.shape:
        raise OutputRefused(
            f"boxes, scores and labels have the shapes {boxes.shape}, {scores.shape} and {numbers.shape}"
        )
    how = "sigmoid" if manifest.how_to_score == "sigmoid" else "none"
    classes = np.zeros(len(numbers), dtype=np.intp) if len(manifest.labels) == 1 else numbers.astype(np.intp)
    if len(classes) and manifest.labels:
        manifest.label(int(classes.min()))
        manifest.label(int(classes.max()))
    table = np.zeros((len(scores), max(len(manifest.labels), int(classes.max(initial=0)) + 1)))
    table[np.arange(len(scores)), classes] = activated(scores, how=how)
    return _Found(boxes=boxes.astype(np.float64), scores=table)


def _read_yolo(outputs: list[Array], *, manifest: Manifest) -> _Found:
    rows, sure = _yolo_rows(np.asarray(outputs[0], dtype=np.float64), classes=max(1, len(manifest.labels)))
    centres, halves = rows[:, :2], rows[:, 2:4] / 2
    scores = activated(rows[:, 5 if sure else 4 :], how=manifest.how_to_score)
    if sure:
        scores = scores * activated(rows[:, 4:5], how="sigmoid" if manifest.how_to_score == "sigmoid" else "none")
    return _Found(boxes=np.hstack([centres - halves, centres + halves]), scores=scores)


def _yolo_rows(table: Doubles, *, classes: int) -> tuple[Doubles, bool]:
    """One row a box, and whether its fifth number says that there is anything."""
    if table.ndim == 2 and table.shape[0] == 4 + classes:
        return table.T, False
    if table.ndim == 2 and table.shape[1] in (4 + classes, 5 + classes):
        return table, table.shape[1] == 5 + classes
    raise OutputRefused(f"an output of shape {table.shape} is no yolo output for {classes} classes")


def _merged(parts: Sequence[_Found], *, size: tuple[int, int], manifest: Manifest) -> _Found:
    """All that was found in a picture, cut at its edges, without doubles, best first."""
    wide = max(part.scores.shape[1] for part in parts)
    found = _Found(
        boxes=np.concatenate([part.boxes for part in parts]),
        scores=np.concatenate([np.pad(part.scores, ((0, 0), (0, wide - part.scores.shape[1]))) for part in parts]),
    )
    inside = np.clip(found.boxes, 0, np.tile(size, 2))
    real = (inside[:, 0] < inside[:, 2]) & (inside[:, 1] < inside[:, 3])
    found = _Found(boxes=inside[real], scores=found.scores[real])
    if not len(found.boxes):
        return found
    if manifest.overlap_allowed is None:
        kept = best_first(found.boxes, found.best, classes=found.classes).tolist()
    else:
        kept = without_doubles(found.boxes, found.best, classes=found.classes, iou=manifest.overlap_allowed)
    return found.only(kept[: manifest.max_detections])


def _tiles(picture: Image.Image, tiling: Tiling | None) -> Iterator[_Tile]:
    if tiling is None:
        yield picture, (0, 0)
        return
    height, width = tiling.size
    for top in _starts(picture.height, tile=height, overlap=tiling.overlap):
        for left in _starts(picture.width, tile=width, overlap=tiling.overlap):
            edges = (left, top, min(left + width, picture.width), min(top + height, picture.height))
            yield picture.crop(edges), (left, top)


def _starts(length: int, *, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along one side: evenly, the last one ends at the edge."""
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = -(-(length - tile) // step)
    return [round(number * (length - tile) / count) for number in range(count + 1)]
