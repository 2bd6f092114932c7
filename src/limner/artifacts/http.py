"""Artifacts of a far worker: kept by the server, with copies of what was used here in a folder that is bounded."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, TypeVar

from limner.artifacts.base import Artifacts, Stored, is_digest
from limner.artifacts.copies import GIGABYTE, Copies
from limner.artifacts.patience import patiently
from limner.clock import Clock, SystemClock
from limner.errors import ArtifactMissing, ServerRefused, ServerUnavailable
from limner.server_client import Server

_T = TypeVar("_T")

#: Smaller files are sent without asking whether the server has them: that would take as long.
_ASK_FROM = 32_768


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
        self._copies = Copies(folder, max_bytes=max_bytes, clock=clock or SystemClock())
        self._patience = patience

    def put(self, data: bytes, *, expected: str | None = None) -> str:
        """Keep a copy, and hand it to the server unless it has it."""
        return self._upload(self._copies.put(data, expected=expected))

    def put_file(self, path: Path, *, expected: str | None = None) -> str:
        """Keep a copy of the file, and hand it to the server unless it has it."""
        return self._upload(self._copies.put_file(path, expected=expected))

    def path(self, sha256: str) -> Path:
        """The copy here; fetched first, where there is none."""
        return self._copies.find(sha256) or self._fetch(sha256)

    def open(self, sha256: str) -> BinaryIO:
        """The copy here, opened; fetched first, where there is none."""
        return self.path(sha256).open("rb")

    def has(self, sha256: str) -> bool:
        """Whether the server has it, or a copy is here."""
        return self._copies.has(sha256) or (is_digest(sha256) and self._at_server(sha256))

    def delete(self, sha256: str) -> None:
        """Remove the copy here; the server's stays."""
        self._copies.delete(sha256)

    def stored(self) -> Iterator[Stored]:
        """The copies here, in order of digest."""
        return self._copies.stored()

    def verify(self, sha256: str) -> None:
        """Read the copy here and compare; one that was damaged is fetched again, once."""
        self.path(sha256)
        if not self._copies.sound(sha256):
            self._copies.delete(sha256)
            self._fetch(sha256)

    def _at_server(self, sha256: str) -> bool:
        return self._patiently(lambda: self._client.exists(sha256))

    def _upload(self, copy: Path) -> str:
        sha256 = copy.name
        if copy.stat().st_size < _ASK_FROM or not self._at_server(sha256):
            self._patiently(lambda: self._client.upload(sha256, copy))
        return sha256

    def _fetch(self, sha256: str) -> Path:
        """Fetch what the server keeps, and keep it here once its digest was compared."""
        try:
            return self._copies.fetch(sha256, lambda to: self._patiently(lambda: self._client.download(sha256, to=to)))
        except ServerRefused as refused:
            if refused.status == 404:
                raise ArtifactMissing(sha256) from refused
            raise

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """What *call* returns; while the server cannot be reached, it is called again."""
        return patiently(call, away=ServerUnavailable, patience=self._patience, over=self._client.over)
