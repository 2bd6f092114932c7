"""Decodes pictures with Pillow: header and pixel limit first, then RGB before anything is made smaller."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from limner.domain.failures import FailedRecord, Failure, FailureCode
from limner.domain.reads import FileRead
from limner.inferrers.picture_files import format_of, is_complete

#: What is read: formats that begin with a magic number, have one picture or a first one, and run no program.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: 65535 / 255: what takes a 16-bit channel to 8 bits.
_16_TO_8 = 257
_WHITE = (255, 255, 255, 255)
#: Pillow's words for a file that stops or breaks; it has no error class of its own for them.
_PILLOW_SAYS = ("truncated", "broken data stream", "cannot identify image", "unrecognized data stream", "broken png")


def decode_picture(path: Path, *, read: FileRead) -> Image.Image:
    """
    The picture at *path* as RGB, alpha over white, first frame, upright where *read* says so.

    A JPEG is decoded at the smallest fraction whose sides both have ``read.at_least`` pixels.

    Raises:
        FailedRecord: SOURCE_WRONG_TYPE, SOURCE_TRUNCATED, SOURCE_TOO_LARGE or DECODE_FAILED by the file's bytes;
            SOURCE_UNAVAILABLE if the copy at hand cannot be read at all.
    """
    _raise_pillows_limit(read.max_pixels)
    try:
        return _decoded(path, read=read)
    except (FailedRecord, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(str(error)) from error
    except Exception as error:  # Pillow's plug-ins raise whatever a damaged file leads them to
        raise _unreadable(path, error) from error


def blamed_on_picture(error: BaseException, *, path: Path, read: FileRead) -> Failure | None:
    """
    The failure that the picture at *path* explains, if *error* is one that Pillow raises for an unusable file.

    For inferrers that are handed the path and open it themselves. None where the error is another or where the
    picture decodes well, so that the inferrer is to blame.
    """
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return _too_large(str(error)).failure
    if not isinstance(error, UnidentifiedImageError):
        words = str(error).lower()
        if not isinstance(error, OSError | SyntaxError) or not any(said in words for said in _PILLOW_SAYS):
            return None
    try:
        decode_picture(path, read=read)
    except FailedRecord as found:
        return found.failure
    return None


def _raise_pillows_limit(max_pixels: int) -> None:
    """Let Pillow's own guard, which refuses above twice its limit, never be stricter than what the stage declares."""
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels


def _decoded(path: Path, *, read: FileRead) -> Image.Image:
    with Image.open(path, formats=_formats()) as picture:
        width, height = picture.size
        if width * height > read.max_pixels:
            raise _too_large(f"its header says {width} × {height} pixels, and {read.max_pixels} are allowed")
        if read.at_least and picture.format == "JPEG":
            picture.draft(None, (read.at_least, read.at_least))
        picture.load()
        turn = _UPRIGHT.get(_orientation(picture)) if read.upright else None
        colours = _to_rgb(picture)
    return colours.transpose(turn) if turn is not None else colours


def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation; damaged EXIF turns nothing, the pixels may be well."""
    try:
        found = picture.getexif().get(_ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  Pillow raises, or warns of, whatever it stumbles over there
        return 1
    return found if isinstance(found, int) else 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        return _from_16_bits(picture)
    if picture.mode == "La":
        picture = picture.convert("LA")
    if picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, _WHITE)
        ground.alpha_composite(picture.convert("RGBA"))
        return ground.convert("RGB")
    if picture.mode == "RGB":
        return picture.copy()
    return picture.convert("RGB")


def _from_16_bits(picture: Image.Image) -> Image.Image:
    """Divide by 257 and round: Pillow's own conversion clips everything above 255 to white."""
    deep = np.asarray(picture).astype(np.int64).clip(0, 65535)
    return Image.fromarray(((deep + _16_TO_8 // 2) // _16_TO_8).astype(np.uint8)).convert("RGB")


def _too_large(why: str) -> FailedRecord:
    return FailedRecord(FailureCode.SOURCE_TOO_LARGE, f"The picture has too many pixels: {why}.")


def _unreadable(path: Path, error: Exception) -> FailedRecord:
    """Why a file that did not decode did not: its bytes say, and its end is looked at only now."""
    try:
        data = path.read_bytes()
    except OSError as trouble:
        return FailedRecord(FailureCode.SOURCE_UNAVAILABLE, f"The copy of the file cannot be read: {trouble}")
    if not data:
        return FailedRecord(FailureCode.SOURCE_TRUNCATED, "The file has no bytes.")
    kind = format_of(data)
    if kind is None:
        return FailedRecord(FailureCode.SOURCE_WRONG_TYPE, "The file is no picture in a format that is read.")
    # Pillow names the file's path, which is of this machine and says nothing to a reader elsewhere.
    said = str(error).replace(str(path), path.name) or type(error).__name__
    complete = is_complete(data, kind=kind)
    if complete is None:
        complete = "truncated" not in said.lower()
    if not complete:
        return FailedRecord(FailureCode.SOURCE_TRUNCATED, f"The {kind} file stops before its end: {said}")
    return FailedRecord(FailureCode.DECODE_FAILED, f"The {kind} file is damaged: {said}")
