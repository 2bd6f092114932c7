"""The contract of the artifacts: bytes by their SHA-256, written once, handed out as local files."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from limner.errors import ArtifactMissing

_SHA256 = re.compile("[0-9a-f]{64}")


class Stored(Struct, frozen=True, kw_only=True):
    """One artifact as a listing shows it."""

    sha256: str
    #: Bytes.
    size: int
    #: When it was last put, seconds since the epoch.
    put: float


class Artifacts(ABC):
    """Bytes addressed by the SHA-256 of their content, in hexadecimal; shared by threads and processes."""

    @abstractmethod
    def put(self, data: bytes, *, expected: str | None = None) -> str:
        """
        Store *data* and return its SHA-256; it is there whole, or not at all. What is there already is kept.

        Raises:
            ChecksumMismatch: the digest is not *expected*; nothing was stored.
            ArtifactsUnavailable: nobody answers, or there is no room; nothing was stored, and asking again is safe.
        """

    @abstractmethod
    def put_file(self, path: Path, *, expected: str | None = None) -> str:
        """Store a copy of the file at *path*, which stays; else as :meth:`put`."""

    @abstractmethod
    def path(self, sha256: str) -> Path:
        """
        A local file with these bytes, to be read and never written.

        Raises:
            ArtifactMissing: there is none of this digest.
        """

    @abstractmethod
    def open(self, sha256: str) -> BinaryIO:
        """
        The bytes as a stream, which the caller closes; deleting the artifact meanwhile does no harm.

        Raises:
            ArtifactMissing: there is none of this digest.
        """

    @abstractmethod
    def has(self, sha256: str) -> bool:
        """Whether there is an artifact of this digest."""

    @abstractmethod
    def delete(self, sha256: str) -> None:
        """Remove it; one that is not there is passed over."""

    @abstractmethod
    def stored(self) -> Iterator[Stored]:
        """Every artifact, in order of digest; what is put or deleted meanwhile may be missing or shown."""

    @abstractmethod
    def verify(self, sha256: str) -> None:
        """
        Read the bytes and compare their digest.

        Raises:
            ArtifactMissing: there is none of this digest.
            ChecksumMismatch: the stored bytes were changed or damaged.
        """


def checked(sha256: str) -> str:
    """
    *sha256* itself, if it can be a digest at all: what is no digest is never looked for on a disk.

    Raises:
        ArtifactMissing: it is no SHA-256 in small hexadecimal digits.
    """
    if not is_digest(sha256):
        raise ArtifactMissing(sha256)
    return sha256


def is_digest(sha256: str) -> bool:
    """Whether *sha256* can be a digest at all."""
    return bool(_SHA256.fullmatch(sha256))
