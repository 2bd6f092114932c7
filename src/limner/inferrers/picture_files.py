"""What the bytes of a picture file say without decoding it: its format, and whether its end is there."""

import io
import re
from typing import Literal

from PIL import Image

_MAGIC = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL),
    "TIFF": re.compile(rb"II\x2a\0|MM\0\x2a|II\x2b\0|MM\0\x2b"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "AVIF": re.compile(rb".{4}ftyp(?:avif|avis|mif1)", re.DOTALL),
    "JPEG2000": re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
    "PPM": re.compile(rb"P[1-6][\s#]"),
}
#: Shorter than every magic number, so a file cut within one is known by what is left of it.
_STARTS = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"II\x2a", b"MM\0")
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_SCAN = 0xDA
_STRIPS = ((273, 279), (324, 325))


def format_of(data: bytes) -> str | None:
    """The format whose magic number *data* begins with; None if it is no picture that is read."""
    for kind, magic in _MAGIC.items():
        if magic.match(data):
            return kind
    return _cut_magic(data)


def is_complete(data: bytes, *, kind: str) -> bool | None:
    """Whether the end mark of *kind* is there, bytes after it allowed; None for formats without one."""
    if kind == "JPEG":
        return data.find(_JPEG_END, _scan_of(data)) >= 0
    if kind == "PNG":
        return _PNG_END in data
    if kind == "GIF":
        return data.rstrip(b"\0").endswith(b";")
    if kind == "BMP":
        return len(data) >= int.from_bytes(data[2:6], "little")
    if kind == "WEBP":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    if kind == "TIFF":
        return _tiff_is_complete(data)
    if kind in ("AVIF", "JPEG2000"):
        return _boxes_are_complete(data) if data[:2] != b"\xff\x4f" else _JPEG_END in data[-64:]
    return None


def _cut_magic(data: bytes) -> str | None:
    """A file of a few bytes that may be the beginning of a magic number."""
    if len(data) >= 16:
        return None
    for start, kind in zip(_STARTS, ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "TIFF"), strict=True):
        if data.startswith(start):
            return kind
    return None


def _scan_of(data: bytes) -> int:
    """Where the picture's own data begins: past the segments, one of which may hold a whole small picture."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN:
            break
    return at


def _tiff_is_complete(data: bytes) -> bool:
    """Whether the directory and every strip or tile of the first picture lie within the file."""
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as picture:
            tags = getattr(picture, "tag_v2", {})
            for offsets, counts in _STRIPS:
                pieces = zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
                if any(at + size > len(data) for at, size in pieces):
                    return False
            return True
    except Exception:  # noqa: BLE001  the directory itself is unreadable, in whatever way
        return _end_of_tiff_directory(data) <= len(data)


def _end_of_tiff_directory(data: bytes) -> int:
    """Where the first directory ends; beyond the file where it or the header is cut."""
    beyond = len(data) + 1
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    # 43 in place of 42 marks a BigTIFF, whose offsets and counts have eight bytes.
    start, width, counted, entry = (8, 8, 8, 20) if 43 in data[2:4] else (4, 4, 2, 12)
    if len(data) < start + width:
        return beyond
    at = int.from_bytes(data[start : start + width], order)
    if len(data) < at + counted:
        return beyond
    return at + counted + entry * int.from_bytes(data[at : at + counted], order) + width


def _boxes_are_complete(data: bytes) -> bool:
    """Whether every box of an ISO base media file, from the first on, ends within the file."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:
            # The last box reaches to the end of the file, so only its content knows; JPEG 2000 has an end mark.
            return data[-2:] == _JPEG_END
        if size < 8 or at + size > len(data):
            return False
        at += size
    return True
