"""What the header of a picture says: size, orientation, and when it was taken."""

import re

from PIL import Image

#: EXIF: orientation, and when the picture was taken, in the camera's time without a zone.
_ORIENTATION = 0x0112
_DATE_TIME = (0x9003, 0x0132)
_EXIF = 0x8769
_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)")


class Header:
    """Reads no pixels."""

    version = "1"

    def infer(self, image: list[Image.Image]) -> list[dict[str, object]]:
        """``{"width", "height"}`` as stored; ``orientation`` and ``taken_at`` (ISO 8601) where they stand."""
        return [_header(one) for one in image]


def _header(image: Image.Image) -> dict[str, object]:
    found: dict[str, object] = {"width": image.width, "height": image.height}
    exif = image.getexif()
    orientation = exif.get(_ORIENTATION)
    if isinstance(orientation, int) and 1 <= orientation <= 8:
        found["orientation"] = orientation
    for tag in _DATE_TIME:
        told = _TIME.match(str(exif.get_ifd(_EXIF).get(tag) or exif.get(tag) or ""))
        if told:
            year, month, day, hour, minute, second = told.groups()
            found["taken_at"] = f"{year}-{month}-{day}T{hour}:{minute}:{second}"
            break
    return found
