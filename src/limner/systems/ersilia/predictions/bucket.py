"""Files in an object store that speaks S3: written on this machine, then put."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limner.artifacts.connect import connect_bucket
from limner.systems.ersilia.predictions.files import Files


class Bucket(Files):
    """Objects below a prefix of a bucket."""

    def __init__(self, url: str) -> None:
        self._bucket = connect_bucket(url)

    def url(self, path: str = "") -> str:
        """``s3://bucket/prefix/path``."""
        return self._bucket.url(path)

    @contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """Write a file of this machine, then put it."""
        with tempfile.TemporaryDirectory(prefix="limner-") as folder:
            local = Path(folder) / "file"
            yield local
            if local.exists():
                self._bucket.put(local, path)

    def names(self, folder: str) -> list[str]:
        """The objects right below a prefix."""
        return self._bucket.names(folder)

    @contextmanager
    def reading(self, path: str) -> Iterator[Path]:
        """A copy on this machine."""
        with tempfile.TemporaryDirectory(prefix="limner-") as folder:
            local = Path(folder) / path.rpartition("/")[2]
            self._bucket.get(path, local)
            yield local

    def remove(self, path: str) -> None:
        """Remove an object."""
        self._bucket.remove(path)
