"""Makes one file of every odd but legal kind of picture and of every broken kind, and says how each must end."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from limner.systems.catalogue import plates

Pixels = npt.NDArray[np.uint8]

_PNG_MARK = b"\x89PNG\r\n\x1a\n"
_WIDTH, _HEIGHT = 163, 120
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True)
class Odd:
    """One file and how a run over it must end."""

    path: Path
    #: ``done`` or the failure code of a picture that cannot be used.
    end: str
    #: Size as shown, upright by EXIF; None where it fails.
    width: int | None = None
    height: int | None = None
    #: Within 2 per channel, by the rules of conversion; None where it fails.
    average_color_hex: str | None = None


def odd(folder: Path) -> list[Odd]:
    """Write all odd and all broken pictures into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_legal(folder / name, make) for name, make in _LEGAL.items()] + [
        _broken(folder / name, make, code=code) for name, (code, make) in _BROKEN.items()
    ]


def _legal(path: Path, make: Callable[[], tuple[bytes, Pixels]]) -> Odd:
    content, shown = make()
    path.write_bytes(content)
    red, green, blue = (int(channel) for channel in shown.reshape(-1, 3).mean(axis=0))
    height, width = shown.shape[:2]
    return Odd(path=path, end="done", width=width, height=height, average_color_hex=f"#{red:02x}{green:02x}{blue:02x}")


def _broken(path: Path, make: Callable[[], bytes], *, code: str) -> Odd:
    path.write_bytes(make())
    return Odd(path=path, end=code)


def _scene() -> Image.Image:
    return plates.plate(6, seed=1).image.resize((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR)


def _saved(image: Image.Image, kind: str, *, exif: Image.Exif | None = None, progressive: bool = False) -> bytes:
    buffer = io.BytesIO()
    if kind == "JPEG":
        image.save(buffer, kind, quality=92, progressive=progressive, exif=exif or Image.Exif())
    else:
        image.save(buffer, kind)
    return buffer.getvalue()


def _grey() -> tuple[bytes, Pixels]:
    image = _scene().convert("L")
    return _saved(image, "PNG"), np.asarray(image.convert("RGB"))


def _over_white(colours: Pixels, alpha: Pixels) -> Pixels:
    share = alpha[..., np.newaxis].astype(np.float64) / 255
    return np.round(colours * share + 255 * (1 - share)).astype(np.uint8)


def _veil() -> Image.Image:
    """An alpha channel that fades from left to right."""
    fade = np.linspace(0, 255, _WIDTH).astype(np.uint8)
    return Image.fromarray(np.tile(fade, (_HEIGHT, 1)))


def _grey_alpha() -> tuple[bytes, Pixels]:
    grey, veil = _scene().convert("L"), _veil()
    shown = _over_white(np.asarray(grey.convert("RGB")), np.asarray(veil))
    return _saved(Image.merge("LA", (grey, veil)), "PNG"), shown


def _alpha() -> tuple[bytes, Pixels]:
    scene, veil = _scene(), _veil()
    shown = _over_white(np.asarray(scene), np.asarray(veil))
    return _saved(Image.merge("RGBA", (*scene.split(), veil)), "PNG"), shown


def _palette() -> tuple[bytes, Pixels]:
    image = _scene().quantize(32)
    return _saved(image, "PNG"), np.asarray(image.convert("RGB"))


def _cmyk() -> tuple[bytes, Pixels]:
    scene = _scene()
    return _saved(scene.convert("CMYK"), "JPEG"), np.asarray(scene)


def _sixteen_bit() -> tuple[bytes, Pixels]:
    grey = np.asarray(_scene().convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    return _saved(deep, "PNG"), np.repeat(grey[..., np.newaxis], 3, axis=2)


def _exif_turned() -> tuple[bytes, Pixels]:
    scene = _scene()
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = 6
    return _saved(scene, "JPEG", exif=exif), np.asarray(scene.transpose(Image.Transpose.ROTATE_270))


def _exif_behind_the_pixels() -> tuple[bytes, Pixels]:
    """A PNG may carry its EXIF chunk after the pixels: a reader of the header alone has to look for it."""
    scene = _scene()
    whole = _saved(scene, "PNG")
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = 8
    end = whole.rindex(b"IEND") - 4
    content = whole[:end] + _chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\x00\x00")) + whole[end:]
    return content, np.asarray(scene.transpose(Image.Transpose.ROTATE_90))


def _progressive() -> tuple[bytes, Pixels]:
    scene = _scene()
    return _saved(scene, "JPEG", progressive=True), np.asarray(scene)


def _animated() -> tuple[bytes, Pixels]:
    first, second = _scene().quantize(64), Image.new("RGB", (_WIDTH, _HEIGHT), (20, 20, 200)).quantize(64)
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=[second], duration=80)
    return buffer.getvalue(), np.asarray(first.convert("RGB"))


def _one_pixel() -> tuple[bytes, Pixels]:
    image = Image.new("RGB", (1, 1), (200, 30, 90))
    return _saved(image, "PNG"), np.asarray(image)


def _plain_png() -> tuple[bytes, Pixels]:
    scene = _scene()
    return _saved(scene, "PNG"), np.asarray(scene)


def _trailing_bytes() -> tuple[bytes, Pixels]:
    scene = _scene()
    return _saved(scene, "JPEG") + b"what a careless server appended" * 20, np.asarray(scene)


def _cut(kind: str) -> bytes:
    whole = _saved(_scene(), kind)
    return whole[: len(whole) // 2]


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png_of(width: int, height: int, *, data: bytes) -> bytes:
    """A PNG whose header promises width × height RGB pixels and which holds whatever *data* is."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _PNG_MARK + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _bomb(width: int, height: int) -> bytes:
    return _png_of(width, height, data=zlib.compress(bytes(100_000)))


def _damaged_png() -> bytes:
    return _png_of(_WIDTH, _HEIGHT, data=b"\x78\x9c" + bytes(range(255, 0, -1)) * 40)


def _damaged_jpeg() -> bytes:
    """All marks in place, but the tables that the pixels are decoded by are nonsense."""
    whole = bytearray(_saved(_scene(), "JPEG"))
    table = whole.index(b"\xff\xc4")
    whole[table + 5 : table + 21] = b"\xff" * 16
    return bytes(whole)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("picture.txt"), "no picture either")
    return buffer.getvalue()


_HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>Try again later.</body></html>"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="10" height="10"/></svg>'
_PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"

_LEGAL: dict[str, Callable[[], tuple[bytes, Pixels]]] = {
    "grey.png": _grey,
    "grey-alpha.png": _grey_alpha,
    "alpha.png": _alpha,
    "palette.png": _palette,
    "cmyk.jpg": _cmyk,
    "sixteen-bit.png": _sixteen_bit,
    "exif-6.jpg": _exif_turned,
    "exif-8-behind.png": _exif_behind_the_pixels,
    "progressive.jpg": _progressive,
    "animated.gif": _animated,
    "one-pixel.png": _one_pixel,
    "png-called.jpg": _plain_png,
    "trailing-bytes.jpg": _trailing_bytes,
}
_BROKEN: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty.jpg": ("SOURCE_TRUNCATED", lambda: b""),
    "cut.jpg": ("SOURCE_TRUNCATED", lambda: _cut("JPEG")),
    "cut.png": ("SOURCE_TRUNCATED", lambda: _cut("PNG")),
    "html.jpg": ("SOURCE_WRONG_TYPE", lambda: _HTML),
    "text.png": ("SOURCE_WRONG_TYPE", lambda: b"The picture that you asked for has moved.\n"),
    "svg.png": ("SOURCE_WRONG_TYPE", lambda: _SVG),
    "pdf.jpg": ("SOURCE_WRONG_TYPE", lambda: _PDF),
    "zip.jpg": ("SOURCE_WRONG_TYPE", _zip),
    "bomb.png": ("SOURCE_TOO_LARGE", lambda: _bomb(20_000, 20_000)),
    "just-too-large.png": ("SOURCE_TOO_LARGE", lambda: _bomb(10_001, 10_000)),
    "damaged.png": ("DECODE_FAILED", _damaged_png),
    "damaged.jpg": ("DECODE_FAILED", _damaged_jpeg),
}
