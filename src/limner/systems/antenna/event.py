"""The frames of one event, put in the order of time and handed to the tracker."""

import re
from collections.abc import Mapping, Sequence

from limner.systems.antenna.tracker import THRESHOLD, link

#: A time in the name of a file, as trap cameras write it: year to second.
_DIGITS = re.compile(r"(?<!\d)(\d{14})(?!\d)")


class EventTracker:
    """A gather over the captures of one event."""

    version = "1"
    #: SciPy decides between assignments of equal cost.
    environment = ("scipy",)

    def __init__(self, *, threshold: float = THRESHOLD, skip: int = 1) -> None:
        """*threshold*: highest cost of a link. *skip*: frames in a row in which a track may be missing."""
        self._threshold = threshold
        self._skip = skip

    def infer(
        self,
        ids: list[list[str]],
        urls: list[list[str | None]],
        taken: list[list[str | None]],
        places: list[list[int | None]],
        headers: list[list[Mapping[str, object] | None]],
        frames: list[list[Sequence[Mapping[str, object]] | None]],
        counts: list[list[int | None]],
    ) -> list[dict[str, object] | Exception]:
        """
        ``{"tracks", "missing_frames"}`` of each event, see :func:`limner.systems.antenna.tracker.link`.

        Frames are ordered by the time that came with them, else by that of the camera, else by 14 digits in the
        file's name, else as they were listed; by the first of these that all of them have. A capture without a count
        was not detected: its frame is missing.
        """
        events = zip(ids, urls, taken, places, headers, frames, counts, strict=True)
        return [self._one(list(zip(*event, strict=True))) for event in events]

    def _one(self, captures: Sequence[tuple[object, ...]]) -> dict[str, object] | Exception:
        orders = _orders(captures)
        frames = [
            {
                "id": identity,
                "order": order,
                "detections": detections or [],
                "size": None if not isinstance(header, Mapping) else [header["width"], header["height"]],
                "failed": detections is None and count is None,
            }
            for (identity, _, _, _, header, detections, count), order in zip(captures, orders, strict=True)
        ]
        try:
            return link(frames, threshold=self._threshold, skip=self._skip)
        except ValueError as error:
            return error


def _orders(captures: Sequence[tuple[object, ...]]) -> list[object]:
    """By what the captures are put in order: the first source of time that all of them have."""
    found: list[object] = []
    for source in (_told, _by_camera, _by_name, _listed):
        found = [source(capture) for capture in captures]
        if None not in found:
            break
    return found


def _told(capture: tuple[object, ...]) -> object:
    return capture[2]


def _by_camera(capture: tuple[object, ...]) -> object:
    header = capture[4]
    return header.get("taken_at") if isinstance(header, Mapping) else None


def _by_name(capture: tuple[object, ...]) -> object:
    name = str(capture[1] or "").partition("?")[0].rpartition("/")[2]
    digits = _DIGITS.search(name)
    return digits.group(1) if digits else None


def _listed(capture: tuple[object, ...]) -> object:
    return capture[3]
