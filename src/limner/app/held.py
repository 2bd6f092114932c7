"""Artifacts that a project may hand out, and those that are handed in to it."""

from pathlib import Path
from typing import TYPE_CHECKING

from limner.artifacts.base import checked
from limner.errors import ArtifactMissing
from limner.store.files import HeldArtifact

if TYPE_CHECKING:
    from limner.app.hosting import Host

#: Bytes of one artifact at most.
MOST_BYTES = 20_000_000_000


def held_artifact(host: "Host", sha256: str) -> HeldArtifact:
    """
    What is known of an artifact that this project may hand out: one of its results, an upload, or a model.

    Raises:
        ArtifactMissing: it is none of these, whatever other projects hold.
    """
    checked(sha256)
    with host.store.reading() as tx:
        try:
            return tx.held.get(sha256)
        except ArtifactMissing:
            if not any(version.sha256 == sha256 for version in tx.models.listing()):
                raise
    return HeldArtifact(sha256=sha256, size=0)


def keep_artifact(host: "Host", file: Path, held: HeldArtifact) -> None:
    """
    Store an upload, then remember that the project holds it.

    Raises:
        ChecksumMismatch: the bytes have another digest; nothing was stored.
    """
    host.app.artifacts.put_file(file, expected=held.sha256)
    with host.store.transaction() as tx:
        tx.held.add([held], at=host.clock.now())
