"""Copies of what was used here, of artifacts that a server keeps: a folder that is bounded."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from limner.artifacts.base import Stored, checked
from limner.artifacts.folder import FolderArtifacts
from limner.clock import Clock
from limner.errors import ArtifactMissing, ChecksumMismatch

GIGABYTE = 1_000_000_000
#: A copy that was used within this time is not removed, however full the folder is: somebody may be about to read it.
_IN_USE = timedelta(hours=1)


class Copies:
    """Files by their digest under a folder, which several processes may share; the longest unused go first."""

    def __init__(self, folder: Path, *, max_bytes: int, clock: Clock) -> None:
        self._kept = FolderArtifacts(folder)
        self._aside = folder / "aside"
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._bytes = sum(stored.size for stored in self._kept.stored())

    def put(self, data: bytes, *, expected: str | None = None) -> Path:
        """
        Keep *data*; the file.

        Raises:
            ChecksumMismatch: the digest is not *expected*.
        """
        return self._taken(self._kept.put(data, expected=expected))

    def put_file(self, path: Path, *, expected: str | None = None) -> Path:
        """Keep a copy of the file at *path*; else as :meth:`put`."""
        return self._taken(self._kept.put_file(path, expected=expected))

    def find(self, sha256: str) -> Path | None:
        """
        The copy, which counts as used now; None where there is none.

        Raises:
            ArtifactMissing: *sha256* is no digest.
        """
        checked(sha256)
        with contextlib.suppress(ArtifactMissing, FileNotFoundError):
            path = self._kept.path(sha256)
            os.utime(path, (self._clock.now(), self._clock.now()))
            return path
        return None

    def fetch(self, sha256: str, download: Callable[[Path], None]) -> Path:
        """
        What *download* writes to the path that it is given, kept once its digest was compared.

        Raises:
            ChecksumMismatch: it wrote something else; nothing is kept.
        """
        aside = self._aside / f"{sha256[:16]}.{os.getpid()}.{threading.get_ident()}"
        try:
            download(aside)
            with aside.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise ChecksumMismatch(expected=sha256, found=found)
            return self.put_file(aside, expected=sha256)
        finally:
            aside.unlink(missing_ok=True)

    def has(self, sha256: str) -> bool:
        """Whether there is a copy."""
        return self._kept.has(sha256)

    def delete(self, sha256: str) -> None:
        """Remove the copy, if there is one."""
        self._kept.delete(sha256)

    def stored(self) -> Iterator[Stored]:
        """The copies, in order of digest."""
        return self._kept.stored()

    def sound(self, sha256: str) -> bool:
        """Whether the copy's bytes have their digest."""
        try:
            self._kept.verify(sha256)
        except ChecksumMismatch:
            return False
        return True

    def _taken(self, sha256: str) -> Path:
        """The copy that was put just now, once there is room for it."""
        path = self._kept.path(sha256)
        self._make_room(added=path.stat().st_size)
        return path

    def _make_room(self, *, added: int) -> None:
        """Remove copies, the longest unused first, until what is *added* fits."""
        with self._lock:
            self._bytes += added
            if self._bytes <= self._max_bytes:
                return
            copies = sorted(self._kept.stored(), key=lambda stored: stored.put)
            self._bytes = sum(stored.size for stored in copies)
            young = self._clock.now() - _IN_USE.total_seconds()
            for stored in copies:
                if self._bytes <= self._max_bytes or stored.put > young:
                    return
                self._kept.delete(stored.sha256)
                self._bytes -= stored.size
