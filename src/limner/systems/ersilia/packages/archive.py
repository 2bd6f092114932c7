"""A folder as one file: the same folder always gives the same bytes, whoever packs it and when."""

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import IO

from limner.systems.ersilia.packages.base import PackageWrong

#: The earliest time that a zip file can name.
_NEVER = (1980, 1, 1, 0, 0, 0)
_CHUNK = 1 << 20
#: What running a package leaves behind, and what belongs to nobody.
_LEFT_OUT = ("__pycache__", ".git", ".DS_Store")


def digest_of(folder: Path) -> str:
    """SHA-256 of what :func:`write_archive` writes, hexadecimal, without writing it."""
    hashed = _Hashed()
    write_archive(folder, hashed)
    return hashed.sha256.hexdigest()


def unpack(file: Path, *, into: Path) -> Path:
    """Unpack what :func:`write_archive` wrote into the folder *into*, which is made, and say where it lies."""
    with zipfile.ZipFile(file) as archive:
        archive.extractall(into)
    return into


def write_archive(folder: Path, out: IO[bytes]) -> None:
    """
    The files of *folder* in the order of their names, at no time, with one mode, as they are.

    Nothing is compressed: what compresses differs from machine to machine, and so would the digest.
    """
    with zipfile.ZipFile(_Forward(out), "w", zipfile.ZIP_STORED) as archive:
        for name in files_of(folder):
            entry = zipfile.ZipInfo(name, date_time=_NEVER)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            with (folder / name).open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while piece := source.read(_CHUNK):
                    target.write(piece)


def files_of(folder: Path) -> list[str]:
    """
    The files of a package's folder by their names in it, sorted.

    Raises:
        PackageWrong: a link leads out of the folder.
    """
    root = folder.resolve()
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        for name in names:
            path = Path(place) / name
            if name in _LEFT_OUT or name.endswith(".pyc"):
                continue
            if not path.resolve().is_relative_to(root):
                raise PackageWrong(
                    f"{path} is a link that leads out of the package; put a copy of the file in its place."
                )
            found.append(path.relative_to(folder).as_posix())
    return sorted(found)


class _Forward(io.RawIOBase):
    """Takes bytes one after the other and never goes back, so that a file and a digest are written alike."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # zipfile hands over bytes, whatever the base class allows
        self._out.write(piece)
        return len(piece)


class _Hashed(io.BytesIO):
    """Hashes what is written to it, and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # as above
        self.sha256.update(piece)
        return len(piece)
