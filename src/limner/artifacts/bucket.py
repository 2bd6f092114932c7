"""Files of any name in a bucket, for what is no artifact: one put each."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from s3fs import S3FileSystem

from limner.artifacts.patience import patiently
from limner.artifacts.s3_errors import translated
from limner.artifacts.s3_place import Place
from limner.errors import ArtifactsUnavailable

_T = TypeVar("_T")


class BucketFiles:
    """
    Objects below a prefix of a bucket, by their path below it; a put makes an object appear whole.

    Every method may raise ``ArtifactsUnavailable``, after the server was asked again for as long as *patience*, and
    ``ConfigurationError`` where there is no such bucket or the keys are refused.
    """

    def __init__(self, place: Place, *, patience: timedelta = timedelta(minutes=2)) -> None:
        self._place = place
        self._patience = patience
        self._files = S3FileSystem(**place.options())

    def url(self, path: str = "") -> str:
        """``s3://bucket/prefix/path``, without the server."""
        return f"s3://{self._key(path)}"

    def put(self, file: Path, path: str) -> None:
        """Put a file of this machine."""
        self._asked(lambda: self._files.put_file(str(file), self._key(path)))

    def get(self, path: str, file: Path) -> None:
        """Read an object into a file of this machine."""
        self._asked(lambda: self._files.get_file(self._key(path), str(file)))

    def names(self, folder: str) -> list[str]:
        """The names of the objects right below a prefix, in order."""
        return sorted(self._asked(lambda: self._listed(folder)))

    def remove(self, path: str) -> None:
        """Remove an object; one that is not there is no error."""
        key = self._key(path)
        self._asked(lambda: self._files.call_s3("delete_object", Bucket=self._place.bucket, Key=key.partition("/")[2]))

    def _key(self, path: str) -> str:
        return "/".join(part for part in (self._place.bucket, self._place.prefix, path) if part)

    def _listed(self, folder: str) -> list[str]:
        try:
            found: list[dict[str, str]] = self._files.ls(self._key(folder), detail=True, refresh=True)
        except FileNotFoundError:
            return []
        return [entry["name"].rpartition("/")[2] for entry in found if entry["type"] == "file"]

    def _asked(self, call: Callable[[], _T]) -> _T:
        """What *call* returns; while the server cannot be reached, it is called again."""

        def ask() -> _T:
            with translated(self._place):
                return call()

        return patiently(ask, away=ArtifactsUnavailable, patience=self._patience, over=threading.Event())
