"""Width over height of a picture as it is shown, from the file's header alone."""

import struct
from pathlib import Path

from PIL import Image

_EXIF_ORIENTATION = 0x0112
#: Orientations that turn the picture by a quarter, so width and height change places.
_QUARTER_TURNS = frozenset({5, 6, 7, 8})
#: Pillow's plug-ins raise SyntaxError and struct.error for headers that make no sense; the warning is raised only
#: where warnings are errors.
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class AspectRatio:
    """Width, height and their ratio, upright by EXIF; no pixel is decoded."""

    version = "1"

    def infer(self, image: list[Path]) -> list[dict[str, object] | Exception]:
        """For each file ``{"value": width / height, "width", "height"}``, or why it could not be read."""
        return [_measure(path) for path in image]


def _measure(path: Path) -> dict[str, object] | Exception:
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if _orientation(picture, path=path) in _QUARTER_TURNS:
                width, height = height, width
    except _UNREADABLE as error:
        return error
    if width < 1 or height < 1:
        return ValueError(f"the header of {path.name} says {width} × {height} pixels")
    return {"value": width / height, "width": width, "height": height}


def _orientation(picture: Image.Image, *, path: Path) -> int:
    if picture.format != "PNG":
        return _number(picture.getexif().get(_EXIF_ORIENTATION))
    # A PNG's own getexif() decodes all pixels, since the chunk may stand behind them: look for the chunk instead.
    if "exif" not in picture.info:
        chunk = _png_chunk(path, name=b"eXIf")
        if chunk:
            picture.info["exif"] = b"Exif\x00\x00" + chunk
    return _number(Image.Image.getexif(picture).get(_EXIF_ORIENTATION))


def _number(value: object) -> int:
    """A damaged EXIF entry may hold anything; what is no number turns nothing."""
    return value if isinstance(value, int) else 1


def _png_chunk(path: Path, *, name: bytes) -> bytes | None:
    """The content of the first chunk called *name*, stepping over all others unread."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            (length,) = struct.unpack(">I", head[:4])
            if head[4:] == name:
                return file.read(length)
            if head[4:] == b"IEND":
                return None
            file.seek(length + 4, 1)
    return None
