"""Finds pickles, which run code when they are loaded, by a file's content and not only by its name."""

import bz2
import io
import lzma
import pickletools
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

#: Names that promise a pickle, whatever the content turns out to be.
_NAMES = (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")
#: First byte of a pickle of protocol 2 and later; the protocol's number follows.
_PROTOCOL = 0x80
_NEWEST = 8
#: Protocols 0 and 1 have no first byte to know them by, so the file is read as one; larger ones go by their name.
_READ_WHOLE = 8_000_000
_HEAD = 4096
#: What reading a damaged archive raises: the standard library has no base class for it.
DAMAGED = (OSError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
_UNPACKERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda data: zlib.decompressobj(31).decompress(data, 64),
    b"\x78\x01": lambda data: zlib.decompressobj().decompress(data, 64),
    b"\x78\x5e": lambda data: zlib.decompressobj().decompress(data, 64),
    b"\x78\x9c": lambda data: zlib.decompressobj().decompress(data, 64),
    b"\x78\xda": lambda data: zlib.decompressobj().decompress(data, 64),
    b"BZh": lambda data: bz2.BZ2Decompressor().decompress(data, 64),
    b"\xfd7zXZ\x00": lambda data: lzma.LZMADecompressor().decompress(data, 64),
    b"\x5d\x00\x00": lambda data: lzma.LZMADecompressor().decompress(data, 64),
}


def pickle_in(path: Path, *, filename: str) -> str | None:
    """
    Where the file *path*, called *filename*, holds a pickle, as the end of a sentence; None where it holds none.

    Raises:
        one of DAMAGED: it is an archive that cannot be read.
    """
    if filename.lower().endswith(_NAMES):
        return f"is a pickle by its name, {filename}"
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if _begins_pickle(head) or _old_pickle(path):
        return "is a pickle"
    if _begins_pickle(_unpacked(head)):
        return "is a compressed pickle"
    member = _member_with_pickle(path)
    return f"holds a pickle, {member}" if member else None


def _begins_pickle(head: bytes) -> bool:
    return len(head) > 1 and head[0] == _PROTOCOL and head[1] <= _NEWEST


def _old_pickle(path: Path) -> bool:
    """Whether the whole file is one pickle program of protocol 0 or 1."""
    if path.stat().st_size > _READ_WHOLE:
        return False
    data = path.read_bytes()
    if len(data) < 2 or not data.endswith(b"."):
        return False
    try:
        # Reads the program without running it, and follows its stack: text that looks like one fails there.
        pickletools.dis(data, out=io.StringIO())
    except Exception:  # noqa: BLE001  whatever it stumbles over, the file is then no pickle
        return False
    return True


def _unpacked(head: bytes) -> bytes:
    """The first bytes of what *head* is the compressed beginning of; empty where it is not compressed."""
    for magic, unpack in _UNPACKERS.items():
        if head.startswith(magic):
            try:
                return unpack(head)
            except (zlib.error, OSError, lzma.LZMAError, EOFError):
                return b""
    return b""


def _member_with_pickle(path: Path) -> str | None:
    """The first pickle in a zip (PyTorch's own format) or tar file."""
    if zipfile.is_zipfile(path):
        return _first(_zipped(path))
    if tarfile.is_tarfile(path):
        return _first(_tarred(path))
    return None


def _first(members: Iterable[tuple[str, bytes]]) -> str | None:
    for name, head in members:
        if name.lower().endswith(_NAMES) or _begins_pickle(head):
            return name
    return None


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and first bytes of the members."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                yield name, member.read(2)


def _tarred(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and first bytes of the files."""
    with tarfile.open(path) as archive:
        for one in archive:
            member = archive.extractfile(one) if one.isfile() else None
            if member is not None:
                with member:
                    yield one.name, member.read(2)
