"""Finds what a precalculation is asked about: the library's file, and the packages that a project has."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from msgspec import Struct

from limner.errors import NotFound, UsageError


class LibraryFile(Struct, frozen=True, kw_only=True):
    """A library at hand."""

    path: Path
    #: Rows that are read of it; None reads all.
    sample: int | None


@contextmanager
def library_file(spec: str, *, folder: Path, sample: int | None = None) -> Iterator[LibraryFile]:
    """
    The library that *spec* names, a path from *folder* or an address, for as long as the block lasts.

    Of a *sample* it is ``reference_library_{sample}.csv`` beside it where there is one, else its own first rows.

    Raises:
        UsageError: the sample has no row.
        NotFound: there is no such file.
    """
    if sample is not None and sample < 1:
        raise UsageError(f"--sample takes 1 or more, not {sample}; leave it out for the whole library.")
    if urlsplit(spec).scheme in ("", "file"):
        path = (folder / spec.removeprefix("file://")).expanduser()
        subset = None if sample is None else path.with_name(_subset(sample))
        if subset is not None and subset.is_file():
            yield LibraryFile(path=subset, sample=None)
        elif path.is_file():
            yield LibraryFile(path=path, sample=sample)
        else:
            raise NotFound(f"There is no library {path}.")
        return
    with TemporaryDirectory(prefix="limner-library-") as copies:
        yield _fetched(spec, Path(copies), sample=sample)


def _subset(sample: int) -> str:
    return f"reference_library_{sample}.csv"


def _fetched(spec: str, copies: Path, *, sample: int | None) -> LibraryFile:
    """A copy of the library behind an address, in the folder *copies*."""
    import fsspec

    try:
        system, place = fsspec.core.url_to_fs(spec)
        subset = None if sample is None else str(PurePosixPath(place).with_name(_subset(sample)))
        if subset is not None and system.isfile(subset):
            place, sample = subset, None
        path = copies / PurePosixPath(place).name
        with system.open(place, "rb") as source, path.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    except FileNotFoundError as error:
        raise NotFound(f"There is no library {spec}.") from error
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"The library {spec} cannot be read: {error}") from error
    return LibraryFile(path=path, sample=sample)
