"""Finds insects on a plain lit board without a model: what differs in colour from the board around it."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from limner.systems.antenna.boxes import whole_box

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Detection = dict[str, object]

#: How much smaller than the shrunken picture the one is on which the board is looked for.
_BOARD_SHRINK = 8
#: Side of the window whose median is the board: an insect must fill less than half of it.
_BOARD_WINDOW = 31
_BLUR = 0.7
#: So wide a median hardly changes from pixel to pixel: every third is asked.
_MEDIAN_STEP = 3
#: Robust standard deviations above the middle; 1.4826 makes one of a median absolute deviation.
_DEVIATIONS = 6.0
_DEVIATION_OF_MAD = 1.4826
#: What is found must somewhere differ by this many thresholds: a faint streak of the board's grain does not.
_PEAK = 2.0
#: The light over a board is a polynomial of this degree in both directions.
_DEGREE = 4
_FIT_ROUNDS = 4
_OUTLIER = 3.0
#: Pixels beyond the edge that closing needs, so that it does not eat into what touches the edge.
_EDGE = 4
_FOUR = ndimage.generate_binary_structure(2, 1)
_EIGHT = np.ones((3, 3), dtype=bool)


class Blobs:
    """
    A detector for automatic cameras over a lit board: robust background, threshold, connected pixels.

    It knows nothing of insects: whatever is large enough and unlike the board is found, stains and a scale bar too,
    unless *ignore* or *background* takes them out. Insects that touch are found as one.
    """

    version = "1"
    #: Pillow decides how a picture is made smaller, SciPy how it is filtered.
    environment = ("pillow", "scipy")

    def __init__(
        self,
        *,
        long_side: int = 1024,
        threshold: float = 18.0,
        smallest: float = 0.012,
        largest: float = 0.25,
        ignore: Sequence[Sequence[float]] = (),
        background: str | None = None,
        max_detections: int = 500,
    ) -> None:
        """
        Prepare a detector.

        *long_side*: pixels of the longer side on which is searched. *threshold*: least difference from the board, in
        channel values of 0 to 255. *smallest*: longest side of a box, as a part of the picture's longer side, below
        which it is dropped; *largest*: part of the picture's area above which. *ignore*: regions ``(x1, y1, x2, y2)``
        as parts of width and height; what has its centre in one is dropped. *background*: file of a picture of the
        empty board, taken by the same camera, so that its stains are no difference; light may change.
        *max_detections*: the best by score are kept.

        Raises:
            ValueError: a parameter makes no sense.
        """
        if long_side < 64 or threshold <= 0 or max_detections < 1:
            raise ValueError("long_side is at least 64, threshold above 0 and max_detections at least 1")
        if not 0 <= smallest < 1 or not 0 < largest <= 1:
            raise ValueError(f"smallest and largest are parts of the picture, not {smallest} and {largest}")
        self._long_side = long_side
        self._threshold = threshold
        self._smallest = smallest
        self._largest = largest
        self._ignore = [_region(part) for part in ignore]
        self._max = max_detections
        self._background = _opened(Path(background)) if background else None

    def infer(self, image: list[Image.Image]) -> list[list[Detection] | Exception]:
        """
        For each RGB picture its detections, best first; an empty list where there is none.

        Each is ``{"box": [x1, y1, x2, y2], "score": 0…1, "origin": "blobs"}``, whole pixels of the picture as handed
        over, x2 and y2 excluded.
        """
        return [self._one(picture) for picture in image]

    def _one(self, picture: Image.Image) -> list[Detection] | Exception:
        try:
            small = shrunk(picture, long_side=self._long_side)
        except (OSError, ValueError) as error:
            return error
        pixels = np.asarray(small, dtype=np.float32)
        difference = np.abs(pixels - self._board(pixels)).max(axis=2)
        return self._detections(ndimage.gaussian_filter(difference, _BLUR), stored=picture.size)

    def _board(self, pixels: Floats) -> Floats:
        if self._background is None:
            return board_of(pixels)
        height, width = pixels.shape[:2]
        empty = np.asarray(self._background.resize((width, height), Image.Resampling.BOX), dtype=np.float32)
        # What is left of a change of light between the two pictures is as smooth as a board.
        return empty + board_of(pixels - empty)

    def _detections(self, difference: Floats, *, stored: tuple[int, int]) -> list[Detection]:
        least = threshold_of(difference, least=self._threshold)
        labels, count = ndimage.label(foreground(difference, threshold=least), structure=_EIGHT)
        if not count:
            return []
        height, width = difference.shape
        across, down = stored[0] / width, stored[1] / height
        found: list[tuple[float, list[int]]] = []
        for number, part in enumerate(ndimage.find_objects(labels), start=1):
            rows, columns = part
            if not self._wanted(columns, rows, width=width, height=height):
                continue
            values = difference[part][labels[part] == number]
            if values.max() < _PEAK * least:
                continue
            edges = (columns.start * across, rows.start * down, columns.stop * across, rows.stop * down)
            score = round(min(1.0, values.mean(dtype=np.float64) / 255), 6)
            found.append((float(score), whole_box(edges, size=stored)))
        found.sort(key=lambda one: (-one[0], one[1]))
        return [{"box": box, "score": score, "origin": "blobs"} for score, box in found[: self._max]]

    def _wanted(self, columns: slice, rows: slice, *, width: int, height: int) -> bool:
        across, down = columns.stop - columns.start, rows.stop - rows.start
        if max(across, down) < self._smallest * max(width, height):
            return False
        if across * down > self._largest * width * height:
            return False
        x, y = (columns.start + columns.stop) / 2 / width, (rows.start + rows.stop) / 2 / height
        return not any(x1 <= x <= x2 and y1 <= y <= y2 for x1, y1, x2, y2 in self._ignore)


def shrunk(picture: Image.Image, *, long_side: int) -> Image.Image:
    """*picture* as RGB, its longer side at most *long_side* pixels, by averaging; never enlarged."""
    part = long_side / max(picture.size)
    colours = picture if picture.mode == "RGB" else picture.convert("RGB")
    if part >= 1:
        return colours
    size = (max(1, round(colours.width * part)), max(1, round(colours.height * part)))
    return colours.resize(size, Image.Resampling.BOX)


def board_of(pixels: Floats) -> Floats:
    """
    What the empty board looks like behind *pixels* (height, width, 3), the same shape.

    On a picture of an eighth of the size: a smooth polynomial for the light, and a wide median of what it leaves.
    The median alone is too bright where the light falls off towards the edges, and a strip along them would be found.
    """
    height, width = pixels.shape[:2]
    tiny = _resized(pixels, (max(1, width // _BOARD_SHRINK), max(1, height // _BOARD_SHRINK)), Image.Resampling.BOX)
    light = light_of(tiny)
    return _resized(_wide_median(tiny - light) + light, (width, height), Image.Resampling.BILINEAR)


def _wide_median(pixels: Floats) -> Floats:
    """The median of the window around each of *pixels* (height, width, 3); a part of them asked, lines between."""
    height, width = pixels.shape[:2]
    reach = _BOARD_WINDOW // 2
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_BOARD_WINDOW, _BOARD_WINDOW), axis=(0, 1))
    down, right = (np.unique([*range(0, length, _MEDIAN_STEP), length - 1]) for length in (height, width))
    asked = windows[np.ix_(down, right)].reshape(len(down), len(right), 3, -1)
    medians = np.median(asked, axis=-1)
    rows = np.stack([_between(np.arange(height), down, medians[:, x]) for x in range(len(right))], axis=1)
    columns = [_between(np.arange(width), right, rows[y]) for y in range(height)]
    return np.stack(columns).astype(np.float32)


def _between(places: npt.NDArray[np.intp], known: npt.NDArray[np.intp], values: Floats) -> npt.NDArray[np.float64]:
    """The three channels of *values* at *known* places, by straight lines at all *places*."""
    return np.stack([np.interp(places, known, values[:, channel]) for channel in range(3)], axis=-1)


def light_of(pixels: Floats) -> Floats:
    """A polynomial over *pixels* (height, width, 3) by least squares, again and again without what stands out."""
    height, width = pixels.shape[:2]
    terms = _terms(height, width)
    values = pixels.reshape(-1, 3).astype(np.float64)
    kept = np.ones(len(values), dtype=bool)
    for _ in range(_FIT_ROUNDS):
        basis = terms[kept]
        # Sums without a library that would spread so few numbers over threads.
        squares, sums = np.einsum("ni,nj->ij", basis, basis), np.einsum("ni,nc->ic", basis, values[kept])
        fitted = np.einsum("ni,ic->nc", terms, np.linalg.pinv(squares) @ sums)
        away = np.abs(values - fitted).max(axis=1)
        kept = away <= _OUTLIER * np.median(away[kept])
    return np.asarray(fitted.reshape(height, width, 3), dtype=np.float32)


def threshold_of(difference: Floats, *, least: float) -> float:
    """How far a pixel must differ from the board: *least*, or more where the board itself is uneven."""
    middle = float(np.median(difference))
    spread = float(np.median(np.abs(difference - middle)))
    return max(least, middle + _DEVIATIONS * _DEVIATION_OF_MAD * spread)


def foreground(difference: Floats, *, threshold: float) -> Mask:
    """What is no board: above the *threshold*, small gaps closed, holes filled, thin lines taken away."""
    mask = np.pad(difference > threshold, _EDGE)
    mask = ndimage.binary_closing(mask, structure=_FOUR, iterations=2)[_EDGE:-_EDGE, _EDGE:-_EDGE]
    mask = ndimage.binary_fill_holes(mask)
    return np.asarray(ndimage.binary_opening(mask, structure=_FOUR), dtype=bool)


@lru_cache(maxsize=8)
def _terms(height: int, width: int) -> npt.NDArray[np.float64]:
    """Every product of powers up to the degree at each pixel: shape (height × width, terms)."""
    down, right = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    powers = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
    terms: npt.NDArray[np.float64] = np.stack([right**i * down**j for i, j in powers], axis=-1).reshape(
        height * width, -1
    )
    terms.flags.writeable = False
    return terms


def _resized(pixels: Floats, size: tuple[int, int], how: Image.Resampling) -> Floats:
    channels = [Image.fromarray(np.ascontiguousarray(pixels[..., channel])) for channel in range(3)]
    return np.stack([np.asarray(channel.resize(size, how), dtype=np.float32) for channel in channels], axis=-1)


def _region(part: Sequence[float]) -> tuple[float, float, float, float]:
    if len(part) != 4 or not (0 <= part[0] < part[2] <= 1 and 0 <= part[1] < part[3] <= 1):
        raise ValueError(f"a region to ignore is (x1, y1, x2, y2) as parts of the picture, not {tuple(part)}")
    return (float(part[0]), float(part[1]), float(part[2]), float(part[3]))


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise ValueError(f"the background {path.name} cannot be read as a picture: {error}") from error
