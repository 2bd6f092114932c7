"""Model files at hand: fetched by digest, checked, and under the name that they had."""

import secrets
from pathlib import Path

from limner.artifacts.base import Artifacts
from limner.domain.tasks import ModelRef


class ModelFiles:
    """Links to models' files under *folder*, each in a folder of its digest, so that the file keeps its own name."""

    def __init__(self, artifacts: Artifacts, *, folder: Path) -> None:
        self._artifacts = artifacts
        self._folder = folder

    def path(self, model: ModelRef) -> Path:
        """
        The file of *model*, whose bytes were read and compared just now.

        Raises:
            ArtifactMissing: there is none.
            ChecksumMismatch: its bytes are not those that were added.
        """
        self._artifacts.verify(model.sha256)
        file = self._artifacts.path(model.sha256).resolve()
        link = self._folder / model.sha256 / Path(model.filename).name
        if link.is_symlink() and link.readlink() == file:
            return link
        link.parent.mkdir(parents=True, exist_ok=True)
        aside = link.with_name(f".{secrets.token_hex(4)}")
        aside.symlink_to(file)
        aside.replace(link)
        return link
