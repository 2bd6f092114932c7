"""Files in an object store that speaks S3: one put each."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from s3fs import S3FileSystem

from limner.artifacts.patience import patiently
from limner.artifacts.s3_errors import translated
from limner.artifacts.s3_place import Place
from limner.errors import ArtifactsUnavailable
from limner.systems.ersilia.predictions.files import Files

#: For so long a server that cannot be reached is asked again.
_PATIENCE = timedelta(minutes=2)
_T = TypeVar("_T")


class Bucket(Files):
    """Objects below a prefix of a bucket; a put makes an object appear whole."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._files = S3FileSystem(**place.options())

    def url(self, path: str = "") -> str:
        """``s3://bucket/prefix/path``."""
        return f"s3://{self._key(path)}"

    @contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """Write a file of this machine, then put it."""
        with tempfile.TemporaryDirectory(prefix="limner-") as folder:
            local = Path(folder) / "file"
            yield local
            if local.exists():
                self._asked(lambda: self._files.put_file(str(local), self._key(path)))

    def names(self, folder: str) -> list[str]:
        """The objects right below a prefix."""
        found = self._asked(lambda: self._listed(folder))
        return sorted(name.rpartition("/")[2] for name in found)

    @contextmanager
    def reading(self, path: str) -> Iterator[Path]:
        """A copy on this machine."""
        with tempfile.TemporaryDirectory(prefix="limner-") as folder:
            local = Path(folder) / path.rpartition("/")[2]
            self._asked(lambda: self._files.get_file(self._key(path), str(local)))
            yield local

    def remove(self, path: str) -> None:
        """Remove an object."""
        self._asked(lambda: self._files.exists(self._key(path)) and self._files.rm_file(self._key(path)))

    def _key(self, path: str) -> str:
        return "/".join(part for part in (self._place.bucket, self._place.prefix, path) if part)

    def _listed(self, folder: str) -> list[str]:
        try:
            found: list[dict[str, str]] = self._files.ls(self._key(folder), detail=True, refresh=True)
        except FileNotFoundError:
            return []
        return [entry["name"] for entry in found if entry["type"] == "file"]

    def _asked(self, call: Callable[[], _T]) -> _T:
        """What *call* returns; while the server cannot be reached, it is called again."""

        def ask() -> _T:
            with translated(self._place):
                return call()

        return patiently(ask, away=ArtifactsUnavailable, patience=_PATIENCE, over=threading.Event())
