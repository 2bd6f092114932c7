"""Finds what a precalculation is asked about: the library's file, and the packages that a project has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

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
    if "://" in spec:
        with _fetched(spec, sample=sample) as library:
            yield library
        return
    path = (folder / spec).expanduser()
    subset = None if sample is None else path.with_name(_subset(sample))
    if subset is not None and subset.is_file():
        yield LibraryFile(path=subset, sample=None)
    elif path.is_file():
        yield LibraryFile(path=path, sample=sample)
    else:
        raise NotFound(f"There is no library {path}.")


def _subset(sample: int) -> str:
    return f"reference_library_{sample}.csv"


@contextmanager
def _fetched(address: str, *, sample: int | None) -> Iterator[LibraryFile]:
    """The library behind an address, at hand for as long as the block lasts."""
    from limner.systems.ersilia.predictions.connect import connect_files

    place, _, name = address.rpartition("/")
    files = connect_files(place)
    there = files.names("")
    if sample is not None and _subset(sample) in there:
        name, sample = _subset(sample), None
    elif name not in there:
        raise NotFound(f"There is no library {address}.")
    with files.reading(name) as path, TemporaryDirectory(prefix="limner-library-") as named:
        # Under its own name, by which its predictions say where they came from.
        link = Path(named) / name
        link.symlink_to(path.absolute())
        yield LibraryFile(path=link, sample=sample)
