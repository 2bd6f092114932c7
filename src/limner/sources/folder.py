"""Source of a folder: a record for each file below it, sorted by path, with what a side file says about it."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from limner.domain.records import NotARecord, SetAside
from limner.domain.values import Value
from limner.errors import UsageError
from limner.sources.base import Columns, Found, Source, aside, checked
from limner.sources.rows import record_of

#: Names of picture files, small letters; compared without regard to case.
PICTURES = tuple(
    f"*.{ending}" for ending in ("jpg", "jpeg", "jpe", "jp2", "png", "gif", "webp", "tif", "tiff", "bmp", "avif")
)
_BLANKS = re.compile(r"[\s_]+")


class Folder(Source):
    """
    The files below a folder whose names match a pattern; hidden ones, and links to folders, are passed over.

    A record's id is its path below the folder, with ``/``. Its fields are ``path``, the address as ``file://`` URL
    under the name that the pipeline reads, and ``title``, the stem made readable; a side file ``STEM.json`` beside it
    adds or replaces fields (title, licence, parent_id). Its revision is the file's time of change and size.
    """

    unique = True

    def __init__(
        self,
        folder: Path,
        *,
        collection: str,
        columns: Columns,
        patterns: Sequence[str] = PICTURES,
        address_field: str = "image_url",
    ) -> None:
        super().__init__(collection=collection)
        self._folder = folder.absolute()
        self._columns = columns
        self._patterns = [pattern.lower() for pattern in patterns]
        self._address = address_field

    def describe(self) -> str:
        """What it is, for a person."""
        return f"folder {self._folder}, files named {' '.join(self._patterns)}"

    def require_one(self) -> None:
        """
        Make sure that there is something to read.

        Raises:
            UsageError: no file matches.
        """
        if next(self.rows(), None) is None:
            raise UsageError(f"No file below {self._folder} is named {' or '.join(self._patterns)}.")

    def rows(self) -> Iterator[Found | SetAside]:
        """Every matching file, sorted by path; what cannot be looked at is set aside under its path."""
        return self._below("")

    def _below(self, prefix: str) -> Iterator[Found | SetAside]:
        try:
            names = _names(self._folder / prefix)
        except OSError as error:
            yield aside(prefix or ".", f"The folder cannot be listed: {error.strerror or error}.")
            return
        # A folder sorts by its name and "/", which gives the order of the whole paths.
        for name in names:
            if name.endswith("/"):
                yield from self._below(prefix + name)
            elif self._matches(name):
                yield self._file(prefix + name)

    def _matches(self, name: str) -> bool:
        return any(fnmatchcase(name.lower(), pattern) for pattern in self._patterns)

    def _file(self, path: str) -> Found | SetAside:
        file = self._folder / path
        try:
            path.encode()
            state = file.stat()
            row = {
                "path": path,
                self._address: file.as_uri(),
                "title": _BLANKS.sub(" ", file.stem).strip() or file.stem,
                **self._beside(file),
                self._columns.id: path,
                self._columns.revision: f"{state.st_mtime_ns}-{state.st_size}",
            }
            record = record_of(row, collection=self.collection, columns=self._columns)
            return Found(row=path, records=checked([record]), excerpt=path)
        except UnicodeEncodeError:
            return aside(ascii(path)[1:-1], "Its name is not UTF-8.")
        except OSError as error:
            return aside(path, f"It cannot be looked at: {error.strerror or error}.")
        except NotARecord as error:
            return aside(path, str(error))

    def _beside(self, file: Path) -> Mapping[str, Value]:
        """
        What the side file of *file* says; nothing where there is none.

        Raises:
            NotARecord: it is no JSON object.
        """
        side = file.with_suffix(".json")
        if side == file or not side.is_file():
            return {}
        try:
            return msgspec.json.decode(side.read_bytes(), type=dict[str, Value])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotARecord(f"Its side file {side.name} is no JSON object: {error}.") from error


def _names(folder: Path) -> list[str]:
    """The names in *folder* that are not hidden, sorted, folders with a ``/`` behind; links to folders left out."""
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                names.append(f"{entry.name}/")
            elif not entry.is_dir():
                names.append(entry.name)
    return sorted(names)
