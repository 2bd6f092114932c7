"""Artifacts in a folder: two levels of folders by digest, each file written aside and renamed when it is whole."""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from limner.artifacts.base import Artifacts, Stored, checked
from limner.errors import ArtifactMissing, ArtifactsUnavailable, ChecksumMismatch

_CHUNK = 1 << 20
#: What a disk says that is full, or a user whose share of it is.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class FolderArtifacts(Artifacts):
    """
    Files under ``<folder>/ab/cd/abcd…``; several processes may share the folder.

    What a killed process left half-written is removed at the next start; a file that is being written is held by a
    lock, so a start beside a running process harms nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside = folder / "aside"
        self._aside.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()

    def put(self, data: bytes, *, expected: str | None = None) -> str:
        """Store *data*; nothing is written where it is there already."""
        sha256 = _agreed(hashlib.sha256(data).hexdigest(), expected=expected)
        if not self._renewed(sha256):
            with self._making_room_known():
                self._write([data], sha256=sha256)
        return sha256

    def put_file(self, path: Path, *, expected: str | None = None) -> str:
        """Store a copy of the file; it is read twice, so that no copy is made of what is there already."""
        with path.open("rb") as file:
            sha256 = _agreed(hashlib.file_digest(file, "sha256").hexdigest(), expected=expected)
            if not self._renewed(sha256):
                file.seek(0)
                with self._making_room_known():
                    self._write(iter(lambda: file.read(_CHUNK), b""), sha256=sha256)
        return sha256

    def path(self, sha256: str) -> Path:
        """The file itself."""
        path = self._place(sha256)
        if not path.is_file():
            raise ArtifactMissing(sha256)
        return path

    def open(self, sha256: str) -> BinaryIO:
        """The file itself, opened."""
        try:
            return self._place(sha256).open("rb")
        except FileNotFoundError:
            raise ArtifactMissing(sha256) from None

    def has(self, sha256: str) -> bool:
        """Whether the file is there."""
        try:
            return self._place(sha256).is_file()
        except ArtifactMissing:
            return False

    def delete(self, sha256: str) -> None:
        """Remove the file; its folders stay, others may be about to use them."""
        with contextlib.suppress(ArtifactMissing):
            self._place(sha256).unlink(missing_ok=True)

    def stored(self) -> Iterator[Stored]:
        """Walk the folders in order."""
        for path in _files(self._folder):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                yield Stored(sha256=path.name, size=status.st_size, put=status.st_mtime)

    def verify(self, sha256: str) -> None:
        """Read the file."""
        with self.path(sha256).open("rb") as file:
            _agreed(hashlib.file_digest(file, "sha256").hexdigest(), expected=sha256)

    def _place(self, sha256: str) -> Path:
        checked(sha256)
        return self._folder / sha256[:2] / sha256[2:4] / sha256

    def _renewed(self, sha256: str) -> bool:
        """Whether the artifact is there; if so it counts as put now, so that no clean-up takes it for old."""
        try:
            os.utime(self._place(sha256))
        except FileNotFoundError:
            return False
        return True

    def _write(self, chunks: Iterable[bytes], *, sha256: str) -> None:
        """Write *chunks* aside, check what was written, and rename."""
        digest = hashlib.sha256()
        descriptor, aside = self._begin()
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                # A file that changed while it was copied must not stand under a digest that it no longer has.
                _agreed(digest.hexdigest(), expected=sha256)
                os.fsync(file.fileno())
                place = self._place(sha256)
                place.parent.mkdir(parents=True, exist_ok=True)
                aside.replace(place)
                _sync(place.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _making_room_known(self) -> Iterator[None]:
        """Tell a disk that is full, which somebody may empty, from whatever else goes wrong with a file."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise ArtifactsUnavailable(
                f"There is no room for another artifact in {self._folder}: {error.strerror}. Make some."
            ) from error

    def _begin(self) -> tuple[int, Path]:
        """A new file aside, locked for as long as it is open."""
        while True:
            aside = self._aside / secrets.token_hex(8)
            descriptor = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Another process that starts just now may have removed it before it was locked.
            if os.fstat(descriptor).st_nlink:
                return descriptor, aside
            os.close(descriptor)

    def _remove_leftovers(self) -> None:
        """Remove what is aside and no living process holds."""
        for aside in self._aside.iterdir():
            with contextlib.suppress(FileNotFoundError, BlockingIOError), aside.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                aside.unlink()


def _agreed(found: str, *, expected: str | None) -> str:
    if expected is not None and found != expected:
        raise ChecksumMismatch(expected=expected, found=found)
    return found


def _files(folder: Path) -> Iterator[Path]:
    """The artifacts' files under *folder*, in order of digest."""
    for outer in sorted(folder.glob("[0-9a-f][0-9a-f]")):
        for inner in sorted(outer.iterdir()):
            yield from sorted(path for path in inner.iterdir() if len(path.name) == 64)


def _sync(folder: Path) -> None:
    """Make the names in *folder* outlast a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
