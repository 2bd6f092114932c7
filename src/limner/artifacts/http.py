"""Artifacts of a far worker: kept by the server, with copies of what was used here in a folder that is bounded."""

import contextlib
import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, TypeVar

import structlog

from limner.artifacts.base import Artifacts, Stored, checked
from limner.artifacts.folder import FolderArtifacts
from limner.clock import Clock, SystemClock
from limner.errors import ArtifactMissing, ChecksumMismatch, ServerRefused, ServerUnavailable
from limner.server_client import Server

_log = structlog.get_logger(__name__)

GIGABYTE = 1_000_000_000
#: A copy that was used within this time is not removed, however full the folder is: somebody may be about to read it.
_IN_USE = timedelta(hours=1)
#: First and longest wait before a server that could not be reached is asked again, in seconds.
_AGAIN = (0.2, 15.0)
_T = TypeVar("_T")


class HttpArtifacts(Artifacts):
    """
    Artifacts behind a server's ``artifacts/{sha256}``.

    A server that cannot be reached is asked again and again for as long as *patience*: who needs a file can do nothing
    without it. Deleting, and the list, are of the copies here alone; what the server keeps is the server's.
    """

    def __init__(
        self,
        client: Server,
        *,
        folder: Path,
        max_bytes: int = 10 * GIGABYTE,
        patience: timedelta = timedelta(minutes=30),
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._copies = FolderArtifacts(folder)
        self._downloads = folder / "aside"
        self._max_bytes = max_bytes
        self._patience = patience
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._bytes = sum(stored.size for stored in self._copies.stored())

    def put(self, data: bytes, *, expected: str | None = None) -> str:
        """Keep a copy, and hand it to the server unless it has it."""
        sha256 = self._copies.put(data, expected=expected)
        self._upload(sha256)
        return sha256

    def put_file(self, path: Path, *, expected: str | None = None) -> str:
        """Keep a copy of the file, and hand it to the server unless it has it."""
        sha256 = self._copies.put_file(path, expected=expected)
        self._upload(sha256)
        return sha256

    def path(self, sha256: str) -> Path:
        """The copy here; fetched first, where there is none."""
        checked(sha256)
        with contextlib.suppress(ArtifactMissing, FileNotFoundError):
            path = self._copies.path(sha256)
            os.utime(path, (self._clock.now(), self._clock.now()))
            return path
        self._fetch(sha256)
        return self._copies.path(sha256)

    def open(self, sha256: str) -> BinaryIO:
        """The copy here, opened; fetched first, where there is none."""
        return self.path(sha256).open("rb")

    def has(self, sha256: str) -> bool:
        """Whether the server has it, or a copy is here."""
        return self._copies.has(sha256) or (_is_digest(sha256) and self._at_server(sha256))

    def delete(self, sha256: str) -> None:
        """Remove the copy here; the server's stays."""
        self._copies.delete(sha256)

    def stored(self) -> Iterator[Stored]:
        """The copies here, in order of digest."""
        return self._copies.stored()

    def verify(self, sha256: str) -> None:
        """Read the copy here and compare; one that was damaged is fetched again, once."""
        self.path(sha256)
        try:
            self._copies.verify(sha256)
        except ChecksumMismatch:
            self._copies.delete(sha256)
            self.path(sha256)
            self._copies.verify(sha256)

    def _at_server(self, sha256: str) -> bool:
        return self._patiently(lambda: self._client.exists(sha256))

    def _upload(self, sha256: str) -> None:
        if not self._at_server(sha256):
            path = self._copies.path(sha256)
            self._patiently(lambda: self._client.upload(sha256, path))
        self._make_room(added=self._copies.path(sha256).stat().st_size)

    def _fetch(self, sha256: str) -> None:
        """Fetch what the server keeps, and keep it here once its digest was compared."""
        aside = self._downloads / f"{sha256[:16]}.{os.getpid()}.{threading.get_ident()}"
        try:
            self._patiently(lambda: self._client.download(sha256, to=aside))
            with aside.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise ChecksumMismatch(expected=sha256, found=found)
            self._make_room(added=aside.stat().st_size)
            self._copies.put_file(aside, expected=sha256)
        except ServerRefused as refused:
            if refused.status == 404:
                raise ArtifactMissing(sha256) from refused
            raise
        finally:
            aside.unlink(missing_ok=True)

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """What *call* returns; while the server cannot be reached, it is called again."""
        ends = self._clock.now() + self._patience.total_seconds()
        pause, longest = _AGAIN
        while True:
            try:
                return call()
            except ServerUnavailable as error:
                if self._clock.now() + pause > ends:
                    raise
                _log.warning("server_unavailable", reason=str(error))
                # Several workers that lost the same server do not come back at the same moment.
                if self._client.over.wait(pause * random.uniform(0.5, 1.0)):
                    raise
                pause = min(longest, 2 * pause)

    def _make_room(self, *, added: int) -> None:
        """Remove copies, the longest unused first, until what is *added* fits."""
        with self._lock:
            self._bytes += added
            if self._bytes <= self._max_bytes:
                return
            copies = sorted(self._copies.stored(), key=lambda stored: stored.put)
            self._bytes = sum(stored.size for stored in copies) + added
            young = self._clock.now() - _IN_USE.total_seconds()
            for stored in copies:
                if self._bytes <= self._max_bytes or stored.put > young:
                    return
                self._copies.delete(stored.sha256)
                self._bytes -= stored.size


def _is_digest(sha256: str) -> bool:
    try:
        return bool(checked(sha256))
    except ArtifactMissing:
        return False
