"""This Limner, as it is installed here, as a wheel: an image gets exactly the code that wrote its recipe."""

import base64
import hashlib
import zipfile
from importlib import metadata
from pathlib import Path

import limner
from limner.app.image_parts import with_compiled

#: A moment that every file of a wheel is said to be from, so that the same code makes the same wheel.
_MOMENT = (2020, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: limner image\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path) -> Path:
    """The wheel of this Limner, written into *folder*."""
    distribution = metadata.distribution("limner")
    home = Path(limner.__file__).parent
    info = f"limner-{distribution.version}.dist-info"
    content = {
        f"limner/{path.relative_to(home).as_posix()}": path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    for name in ("METADATA", "entry_points.txt"):
        content[f"{info}/{name}"] = (distribution.read_text(name) or "").encode()
    content[f"{info}/WHEEL"] = _WHEEL.encode()
    listed = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in content.items())
    content[f"{info}/RECORD"] = f"{listed}{info}/RECORD,,\n".encode()
    wheel = folder / f"limner-{distribution.version}-py3-none-any.whl"
    # Not compressed: it goes no further than into an image, whose layers are.
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), data)
    return wheel


def installed_bytes(wheel: Path) -> int:
    """What the files of a wheel come to once they are installed."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(with_compiled(entry.filename, entry.file_size) for entry in archive.infolist())


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
