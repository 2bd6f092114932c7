"""Makes files as cameras and servers really deliver them, seeded: broken ones, and odd ones that are legal."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from limner.systems.antenna.trap_pictures import night

_ORIENTATION = 0x0112
_SIZE = (480, 320)
_PNG_MARK = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class TrapFile:
    """One file and what must become of it."""

    path: Path
    #: Code of the failure list; None for a legal file.
    code: str | None
    #: Stored width and height of a legal file.
    size: tuple[int, int] | None = None


def write_odd_files(folder: Path, *, seed: int = 5) -> list[TrapFile]:
    """Write every legal but odd file into *folder*: unusual modes and formats, turned, tiny, blank."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = _scene(seed)
    found = []
    for name, make in _ODD.items():
        content = make(scene)
        (folder / name).write_bytes(content)
        with Image.open(io.BytesIO(content)) as picture:
            found.append(TrapFile(path=folder / name, code=None, size=picture.size))
    return found


def write_broken_files(folder: Path, *, seed: int = 5) -> list[TrapFile]:
    """Write every broken file into *folder*: cut, empty, header only, of another kind, a bomb, damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = _scene(seed)
    for name, (_, make) in _BROKEN.items():
        (folder / name).write_bytes(make(scene))
    return [TrapFile(path=folder / name, code=code) for name, (code, _) in _BROKEN.items()]


def _scene(seed: int) -> Image.Image:
    return next(night(seed=seed, frames=1, things=8, size=_SIZE)).image


def _saved(image: Image.Image, kind: str, *, orientation: int | None = None) -> bytes:
    buffer = io.BytesIO()
    if kind == "JPEG":
        exif = Image.Exif()
        if orientation:
            exif[_ORIENTATION] = orientation
        image.save(buffer, kind, quality=90, exif=exif)
    elif kind == "WEBP":
        image.save(buffer, kind, lossless=True)
    else:
        image.save(buffer, kind)
    return buffer.getvalue()


def _sixteen_bit(scene: Image.Image) -> bytes:
    return _saved(Image.fromarray(np.asarray(scene.convert("L")).astype(np.uint16) * 257), "PNG")


def _alpha(scene: Image.Image) -> bytes:
    """Clear at the left edge, opaque from the middle on."""
    veil = np.clip(np.linspace(0, 510, scene.width), 0, 255).astype(np.uint8)
    with_veil = scene.copy()
    with_veil.putalpha(Image.fromarray(np.tile(veil, (scene.height, 1))))
    return _saved(with_veil, "PNG")


def _animation(scene: Image.Image) -> bytes:
    buffer = io.BytesIO()
    second = Image.new("RGB", scene.size, (20, 20, 160)).quantize(16)
    scene.quantize(64).save(buffer, "GIF", save_all=True, append_images=[second], duration=80)
    return buffer.getvalue()


def _cut(scene: Image.Image, kind: str, *, part: float) -> bytes:
    whole = _saved(scene, kind)
    return whole[: int(len(whole) * part)]


def _header_only(scene: Image.Image) -> bytes:
    """A JPEG up to where its pixels would begin."""
    whole = _saved(scene, "JPEG")
    return whole[: whole.index(b"\xff\xda")]


def _png_of(width: int, height: int, *, data: bytes) -> bytes:
    """A PNG whose header promises width × height RGB pixels, and which holds whatever *data* is."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _PNG_MARK + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _bomb(_: Image.Image) -> bytes:
    return _png_of(30_000, 30_000, data=zlib.compress(bytes(50_000)))


def _damaged(_: Image.Image) -> bytes:
    return _png_of(*_SIZE, data=b"\x78\x9c" + bytes(range(255, 0, -1)) * 40)


def _html(_: Image.Image) -> bytes:
    return b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>No such capture.</body></html>\n"


def _pdf(_: Image.Image) -> bytes:
    return b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"


_ODD: dict[str, Callable[[Image.Image], bytes]] = {
    "grey.png": lambda scene: _saved(scene.convert("L"), "PNG"),
    "sixteen-bit.png": _sixteen_bit,
    "palette.png": lambda scene: _saved(scene.quantize(64), "PNG"),
    "alpha.png": _alpha,
    "cmyk.jpg": lambda scene: _saved(scene.convert("CMYK"), "JPEG"),
    "lossless.webp": lambda scene: _saved(scene, "WEBP"),
    "animation.gif": _animation,
    "turned.jpg": lambda scene: _saved(scene, "JPEG", orientation=6),
    "png-called.jpg": lambda scene: _saved(scene, "PNG"),
    "one-pixel.png": lambda _: _saved(Image.new("RGB", (1, 1), (200, 190, 210)), "PNG"),
    "tiny.png": lambda scene: _saved(scene.resize((24, 16), Image.Resampling.BOX), "PNG"),
    "wide.png": lambda _: _saved(Image.new("RGB", (900, 3), (215, 210, 220)), "PNG"),
    "blank.png": lambda _: _saved(Image.new("RGB", (640, 360), (224, 222, 226)), "PNG"),
}
_BROKEN: dict[str, tuple[str, Callable[[Image.Image], bytes]]] = {
    "zero-bytes.jpg": ("SOURCE_TRUNCATED", lambda _: b""),
    "header-only.jpg": ("SOURCE_TRUNCATED", _header_only),
    "truncated-half.jpg": ("SOURCE_TRUNCATED", lambda scene: _cut(scene, "JPEG", part=0.5)),
    "truncated-end.jpg": ("SOURCE_TRUNCATED", lambda scene: _cut(scene, "JPEG", part=0.95)),
    "truncated.png": ("SOURCE_TRUNCATED", lambda scene: _cut(scene, "PNG", part=0.5)),
    "html-error-page.jpg": ("SOURCE_WRONG_TYPE", _html),
    "document.png": ("SOURCE_WRONG_TYPE", _pdf),
    "pixel-bomb.png": ("SOURCE_TOO_LARGE", _bomb),
    "damaged.png": ("DECODE_FAILED", _damaged),
}
