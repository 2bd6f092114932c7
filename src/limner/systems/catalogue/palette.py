"""The colours of a picture as one exact, repeatable histogram, and the query vector of a single colour."""

import math
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
#: Three weights of 13 bits and 14 bits of pixels make 53, what a float64 counts exactly.
_STEPS = 2**13
#: Pixels multiplied at once: so few that no library spreads the product over threads, which on a busy machine takes
#: twenty times as long (8 ms against 0.4 ms, measured on two cores).
_SLICE = 250


@cache
def colour_table(*, bins: int, noise_std: float) -> npt.NDArray[np.float64]:
    """
    The weight of each of 256 channel values in each of *bins* equal bins over [0, 255]: shape (256, bins).

    A row is the share of a Gaussian (mean the value, standard deviation *noise_std*) that falls in each bin:
    what counting endlessly many noisy copies of a pixel tends to. What leaves [0, 255] is dropped, not clipped,
    so white and black weigh less than mid-tones. The table is shared between callers and cannot be written to.
    """
    if bins < 2:
        raise ValueError(f"a palette needs at least 2 bins a channel, not {bins}")
    if not 0 < noise_std <= 255:
        raise ValueError(f"the noise of a palette must be a positive number up to 255, not {noise_std}")
    edges = np.linspace(0.0, 255.0, bins + 1)
    distances = (edges[np.newaxis, :] - np.arange(256)[:, np.newaxis]) / (noise_std * math.sqrt(2.0))
    below = 0.5 * (1.0 + np.vectorize(math.erf)(distances))
    table: npt.NDArray[np.float64] = np.diff(below, axis=1)
    table.flags.writeable = False
    return table


@cache
def _whole_table(*, bins: int, noise_std: float) -> npt.NDArray[np.float64]:
    """The colour table in whole steps of 1/8192."""
    table: npt.NDArray[np.float64] = np.rint(colour_table(bins=bins, noise_std=noise_std) * _STEPS)
    table.flags.writeable = False
    return table


def histogram(pixels: npt.NDArray[np.uint8], *, bins: int, noise_std: float) -> npt.NDArray[np.float32]:
    """
    The unit histogram of *pixels*, shape (n, 3), over bins³ colours; index = bins²·red + bins·green + blue.

    A matrix product of (red ⊗ green) with blue. Weights are whole numbers of 1/8192, so for up to 16,384 pixels
    every sum is a whole number below 2⁵³ and exact: no library, thread count or processor can change a bit of it.
    """
    table = _whole_table(bins=bins, noise_std=noise_std)
    red, green, blue = (table[pixels[:, channel]] for channel in range(3))
    pairs = (red[:, :, np.newaxis] * green[:, np.newaxis, :]).reshape(len(pixels), bins * bins)
    total = np.zeros((bins * bins, bins))
    for start in range(0, len(pixels), _SLICE):
        total += pairs[start : start + _SLICE].T @ blue[start : start + _SLICE]
    return unit(total.ravel())


def unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """*vector* divided by its length; a ValueError where it has none."""
    # fsum is exact in any order; NumPy's sums depend on the processor.
    length = math.sqrt(math.fsum((vector * vector).tolist()))
    if not (length > 0 and math.isfinite(length)):
        raise ValueError("a vector of length zero has no direction")
    return (vector / length).astype(np.float32)


class Palette:
    """
    The palette (a unit vector of bins³ numbers) and the average colour of a picture.

    The method is that of the Wellcome Collection's palette encoder with its random noise replaced by what it
    tends to: same bytes, same vector.
    """

    version = "1"
    #: Pillow decides how a picture is made smaller; NumPy only adds and multiplies.
    environment = ("pillow",)

    def __init__(self, *, bins: int = 10, noise_std: float = 30.0, sizes: Sequence[int] = (100, 50)) -> None:
        """
        *bins* per channel; *noise_std* in channel values; *sizes*: sides of the smooth and of the final square.

        Raises:
            ValueError: a parameter makes no palette.
        """
        if len(sizes) != 2 or min(sizes) < 1:
            raise ValueError(f"sizes are two whole numbers of pixels, such as (100, 50), not {tuple(sizes)}")
        self._bins = bins
        self._noise_std = noise_std
        self._smooth, self._final = (int(size) for size in sizes)
        colour_table(bins=bins, noise_std=noise_std)

    def infer(self, image: list[Image.Image]) -> list[dict[str, object] | Exception]:
        """For each RGB picture ``{"vector": float32[bins³], "average_color_hex": "#rrggbb"}``, or why not."""
        return [self._one(picture) for picture in image]

    def _one(self, picture: Image.Image) -> dict[str, object] | Exception:
        try:
            pixels = self._pixels(picture)
        except (OSError, ValueError) as error:
            return error
        # Cut, not rounded: the original's average colours are cut to integers.
        red, green, blue = (int(channel) for channel in pixels.mean(axis=0))
        return {
            "vector": histogram(pixels, bins=self._bins, noise_std=self._noise_std),
            "average_color_hex": f"#{red:02x}{green:02x}{blue:02x}",
        }

    def _pixels(self, picture: Image.Image) -> npt.NDArray[np.uint8]:
        colours = picture if picture.mode == "RGB" else picture.convert("RGB")
        smooth = colours.resize((self._smooth, self._smooth), Image.Resampling.BILINEAR)
        final = smooth.resize((self._final, self._final), Image.Resampling.NEAREST)
        return np.asarray(final, dtype=np.uint8).reshape(-1, 3)


def colour(
    value: str, *, bins: int = 10, noise_std: float = 30.0, mode: str = "default", query_blur: float = 18.0
) -> npt.NDArray[np.float32]:
    """
    The unit query vector, float32[bins³], of one colour such as ``#aa3311`` or ``aa3311``.

    *bins* and *noise_std* are those of the palette stage that is searched. Modes:

    - ``default``: the encoder's own table with the standard deviation *query_blur*; finds a plain picture of the
      same colour far more often than the original and keeps the original's orders;
    - ``compat``: the original's query, one bin blurred by a Gaussian of 0.3 bins;
    - ``matched``: the encoder's own table and noise, so a plain picture of the colour scores 1.

    Raises:
        ValueError: *value* is no colour of six hex digits, or *mode* is unknown.
    """
    channels = channels_of(value)
    if mode == "compat":
        return _blurred_bin(channels, bins=bins)
    if mode not in ("default", "matched"):
        raise ValueError(f"{mode!r} is no way to search by colour; take default, compat or matched")
    table = colour_table(bins=bins, noise_std=noise_std if mode == "matched" else query_blur)
    return _cube(*(table[channel] for channel in channels))


def channels_of(value: str) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of a colour of six hex digits; a ValueError in words where it is none."""
    found = _HEX.fullmatch(value)
    if found is None:
        raise ValueError(f"{value!r} is no colour; write six hex digits such as #aa3311")
    digits = found.group(1)
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _blurred_bin(channels: tuple[int, int, int], *, bins: int) -> npt.NDArray[np.float32]:
    """The original's query: the nearest bin on a scale that its own encoder does not use, slightly blurred."""
    if bins < 2:
        raise ValueError(f"a palette needs at least 2 bins a channel, not {bins}")
    steps = np.arange(bins)
    red, green, blue = (
        np.exp(-((steps - math.floor(channel / 255 * (bins - 1) + 0.5)) ** 2) / (2 * 0.3**2)) for channel in channels
    )
    return _cube(red, green, blue)


def _cube(
    red: npt.NDArray[np.float64], green: npt.NDArray[np.float64], blue: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """The unit vector of one colour from the weights of its channels; far colours keep their small weights."""
    return unit(np.einsum("i,j,k->ijk", red, green, blue).ravel())
