"""Follows insects from frame to frame of one event: the cheapest assignment between neighbouring frames."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from limner.systems.antenna.boxes import areas, overlaps

Doubles = npt.NDArray[np.float64]

#: Cost above which two detections are never one insect.
THRESHOLD = 1.4
#: The colour term where a detection has no vector.
_NO_VECTOR = 0.5
#: Frames that a track may skip.
_SKIPPED = 1


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame that was detected well, with its detections in the order of their ids."""

    id: str
    detections: tuple[str, ...]
    #: Shape (n, 4).
    boxes: Doubles
    #: For each detection its unit vector, or None.
    vectors: tuple[Doubles | None, ...]
    #: Width and height of the picture; None where nobody knows.
    size: tuple[float, float] | None


@dataclass(kw_only=True)
class _Track:
    """A track that grows: where it was seen last, and what it holds."""

    frame: int
    row: int
    detections: list[str]
    costs: list[float] = field(default_factory=list)


class Tracker:
    """A gather over the frames of an event."""

    version = "1"
    #: SciPy decides between assignments of equal cost.
    environment = ("scipy",)

    def __init__(self, *, threshold: float = THRESHOLD, skip: int = _SKIPPED) -> None:
        """
        *threshold*: highest cost of a link. *skip*: frames in a row in which a track may be missing.

        Raises:
            ValueError: a parameter is out of range.
        """
        if not threshold > 0 or skip < 0:
            raise ValueError(f"threshold is above 0 and skip not below, not {threshold} and {skip}")
        self._threshold = threshold
        self._skip = skip

    def infer(self, frames: list[Sequence[Mapping[str, object]]]) -> list[dict[str, object] | Exception]:
        """For each event's frames, in any order, what :func:`link` answers."""
        return [self._one(event) for event in frames]

    def _one(self, event: Sequence[Mapping[str, object]]) -> dict[str, object] | Exception:
        try:
            return link(event, threshold=self._threshold, skip=self._skip)
        except ValueError as error:
            return error


def link(
    frames: Sequence[Mapping[str, object]], *, threshold: float = THRESHOLD, skip: int = _SKIPPED
) -> dict[str, object]:
    """
    The tracks through *frames*: ``{"tracks": [{"id", "detections", "costs"}], "missing_frames": [ids]}``.

    A frame is ``{"id", "order", "detections": [{"id", "box", "vector"}], "size": [w, h], "failed"}``; ``order`` (a
    number, or a text that sorts by time) may be None, then the id decides; ``vector``, ``size`` and ``failed`` may
    be left out. The order in which frames and detections come does not matter. Every detection is in exactly one
    track; a track of n detections has n - 1 costs and is named after its first. Failed frames are listed in time
    order and otherwise passed over, as if they had not been taken.

    cost = (1 - cosine) + (1 - IoU) + (1 - ratio of areas) + distance of centres / diagonal of the picture, assigned
    by the Hungarian method (Kuhn 1955; method and weights are those of the AMI data companion's tracker, with a
    threshold that lets an insect move off its box).

    Raises:
        ValueError: two frames or detections have one id, a box is none, or two vectors differ in length.
    """
    ordered = sorted(frames, key=_place)
    _refuse_doubles([str(frame["id"]) for frame in ordered], what="frames")
    missing = [str(frame["id"]) for frame in ordered if frame.get("failed")]
    seen = [_frame(frame) for frame in ordered if not frame.get("failed")]
    _refuse_doubles([one for frame in seen for one in frame.detections], what="detections")
    tracks = _grown(seen, threshold=threshold, skip=skip)
    return {
        "tracks": [
            {"id": f"track-{track.detections[0]}", "detections": track.detections, "costs": track.costs}
            for track in tracks
        ],
        "missing_frames": missing,
    }


def costs_between(one: Frame, other: Frame, *, diagonal: float) -> Doubles:
    """The cost of taking each detection of *one* for each of *other*: shape (n, m)."""
    areas_one, areas_other = areas(one.boxes)[:, np.newaxis], areas(other.boxes)[np.newaxis, :]
    ratio = np.minimum(areas_one, areas_other) / np.maximum(areas_one, areas_other)
    centres_one, centres_other = ((frame.boxes[:, :2] + frame.boxes[:, 2:]) / 2 for frame in (one, other))
    apart = np.linalg.norm(centres_one[:, np.newaxis] - centres_other[np.newaxis, :], axis=2)
    unlike = np.array([[_unlike(a, b) for b in other.vectors] for a in one.vectors])
    costs: Doubles = unlike + (1 - overlaps(one.boxes, other.boxes)) + (1 - ratio) + apart / diagonal
    return costs


def _grown(frames: Sequence[Frame], *, threshold: float, skip: int) -> list[_Track]:
    """All tracks, by the frame and row in which they begin."""
    tracks: list[_Track] = []
    for at, frame in enumerate(frames):
        free = set(range(len(frame.detections)))
        # The frame before comes first: who was seen there is not given away to somebody seen earlier.
        for back in range(1, skip + 2):
            waiting = [track for track in tracks if track.frame == at - back]
            for track, row, cost in _links(waiting, frames, at=at, free=sorted(free), threshold=threshold):
                track.frame, track.row = at, row
                track.detections.append(frame.detections[row])
                track.costs.append(round(cost, 6))
                free.discard(row)
        tracks += [_Track(frame=at, row=row, detections=[frame.detections[row]]) for row in sorted(free)]
    return tracks


def _links(
    waiting: Sequence[_Track], frames: Sequence[Frame], *, at: int, free: Sequence[int], threshold: float
) -> list[tuple[_Track, int, float]]:
    """The cheapest pairs of *waiting* tracks, all last seen in one frame, and *free* rows of the frame *at*."""
    if not waiting or not free:
        return []
    before, now = frames[waiting[0].frame], frames[at]
    whole = costs_between(before, now, diagonal=_diagonal(before, now))
    costs = whole[np.ix_([track.row for track in waiting], free)]
    # Pairs that can never be linked all cost the same, so that they do not push a good pair aside.
    picked = linear_sum_assignment(np.minimum(costs, threshold + 1e-6))
    return [
        (waiting[row], free[column], float(costs[row, column]))
        for row, column in zip(*picked, strict=True)
        if costs[row, column] <= threshold
    ]


def _diagonal(one: Frame, other: Frame) -> float:
    """The longer diagonal of the two pictures; without sizes that of what the boxes span."""
    sizes = [frame.size for frame in (one, other) if frame.size]
    if not sizes:
        sizes = [tuple(np.concatenate([one.boxes, other.boxes])[:, 2:].max(axis=0))]
    return max(1.0, *(math.hypot(*size) for size in sizes))


def _unlike(one: Doubles | None, other: Doubles | None) -> float:
    if one is None or other is None:
        return _NO_VECTOR
    if one.shape != other.shape:
        raise ValueError(f"two vectors of one event have {len(one)} and {len(other)} numbers and cannot be compared")
    return 1 - float(one @ other)


def _place(frame: Mapping[str, object]) -> tuple[int, float, str, str]:
    """A frame's place in time: numbers before texts, frames that do not say last, then the id."""
    order, identity = frame.get("order"), str(frame["id"])
    if isinstance(order, int | float):
        return (0, order, "", identity)
    return (1, 0, order, identity) if isinstance(order, str) else (2, 0, "", identity)


def _frame(given: Mapping[str, object]) -> Frame:
    identity, listed, size = str(given["id"]), given.get("detections") or (), given.get("size")
    if not isinstance(listed, Sequence):
        raise ValueError(f"the detections of frame {identity} are no list")
    detections = sorted(listed, key=lambda one: str(one["id"]))
    boxes = np.array([one["box"] for one in detections], dtype=np.float64).reshape(-1, 4)
    if not np.isfinite(boxes).all() or not (boxes[:, :2] < boxes[:, 2:]).all():
        raise ValueError(f"a detection of frame {identity} has a box without an area")
    return Frame(
        id=identity,
        detections=tuple(str(one["id"]) for one in detections),
        boxes=boxes,
        vectors=tuple(_unit(one.get("vector")) for one in detections),
        size=(float(size[0]), float(size[1])) if isinstance(size, Sequence) and len(size) == 2 else None,
    )


def _unit(vector: object) -> Doubles | None:
    """*vector* with length 1; None where there is none, or one without a direction."""
    if vector is None:
        return None
    numbers = np.asarray(vector, dtype=np.float64).ravel()
    length = float(np.linalg.norm(numbers))
    return numbers / length if length > 0 and math.isfinite(length) else None


def _refuse_doubles(ids: Sequence[str], *, what: str) -> None:
    if len(set(ids)) < len(ids):
        double = next(one for one in ids if ids.count(one) > 1)
        raise ValueError(f"two {what} of one event have the id {double}")
