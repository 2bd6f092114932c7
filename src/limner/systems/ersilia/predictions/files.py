"""Files below one folder, on this machine or in a bucket: whole or not at all."""

import glob
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from limner.errors import ArtifactsUnavailable, UsageError


class Files(ABC):
    """Files by their path below the folder, with slashes. Every method may raise ``ArtifactsUnavailable``."""

    @abstractmethod
    def url(self, path: str = "") -> str:
        """The address of a file, without secrets."""

    @abstractmethod
    def writing(self, path: str) -> AbstractContextManager[Path]:
        """
        A file of this machine to write to; it takes its place when the block ends, and vanishes after an error.

        Where the block removed it, none takes the place.
        """

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The names of the files that lie right in *folder*, in order; none where it does not exist."""

    @abstractmethod
    def reading(self, path: str) -> AbstractContextManager[Path]:
        """A file of this machine with what stands in the file."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""


class Folder(Files):
    """Files below a folder of this machine, which is made when the first is written."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def url(self, path: str = "") -> str:
        """A ``file:`` address."""
        return (self._root / path).as_uri()

    @contextmanager
    def writing(self, path: str) -> Iterator[Path]:
        """Write beside it, then rename; what a process that was killed left beside it goes."""
        target = self._root / path
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
                left.unlink(missing_ok=True)
            yield part
            if part.exists():
                with part.open("rb+") as file:
                    os.fsync(file.fileno())
                part.replace(target)
        except OSError as error:
            raise self._unwritable(target, error) from error
        finally:
            part.unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """The files in a folder; what is still being written does not count."""
        try:
            return sorted(file.name for file in os.scandir(self._root / folder) if not file.name.startswith("."))
        except FileNotFoundError:
            return []
        except NotADirectoryError as error:
            raise UsageError(f"{self._root / folder} is a file; name a folder for predictions.") from error

    @contextmanager
    def reading(self, path: str) -> Iterator[Path]:
        """The file itself."""
        yield self._root / path

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self._root / path).unlink(missing_ok=True)

    def _unwritable(self, target: Path, error: OSError) -> UsageError | ArtifactsUnavailable:
        told = f"{target} cannot be written: {error.strerror or error}."
        if isinstance(error, FileExistsError | NotADirectoryError | PermissionError | IsADirectoryError):
            return UsageError(told)
        return ArtifactsUnavailable(told)
