"""From what a user names to a source; the only file that knows the kinds."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from limner.domain.records import Shape
from limner.errors import UsageError
from limner.sources.base import Columns, Source
from limner.sources.jsonl import Reader
from limner.sources.rows import record_of

_JSON = (".jsonl", ".ndjson", ".json")
#: Endings that are read; those of text may have ``.gz`` behind.
ENDINGS = (".csv", ".tsv", *_JSON, ".parquet", ".txt")


def connect_source(
    spec: str | Path,
    *,
    collection: str,
    shape: str | None = None,
    shapes: Mapping[str, Shape] | None = None,
    columns: Columns | None = None,
    patterns: Sequence[str] | None = None,
    address_field: str = "image_url",
    standard_input: IO[bytes] | None = None,
) -> Source:
    """
    The source that *spec* names: a folder, a file by its ending, or ``-`` for JSON Lines on standard input.

    *columns* says which columns are id, parent and version; *shape*, one of *shapes*, reads a system's own JSON
    objects instead. *patterns* are the names of files that a folder yields (pictures by default), *address_field* the
    field under which folders and URL lists give the address.

    Raises:
        UsageError: there is no such source, it is empty, or the options do not fit it; the text names what is known.
    """
    chosen = columns or Columns()
    reader = _reader(shape, shapes=shapes or {}, columns=chosen)
    if str(spec) == "-":
        from limner.sources.jsonl import JsonLines

        return JsonLines(standard_input or sys.stdin.buffer, collection=collection, reader=reader)
    path = Path(spec)
    ending = _ending(path)
    if shape is not None and ending not in _JSON:
        raise UsageError(f"--shape reads JSON ({', '.join(_JSON)}, or - for standard input), not {path}.")
    return _of_path(
        path,
        ending=ending,
        collection=collection,
        reader=reader,
        columns=chosen,
        patterns=patterns,
        address_field=address_field,
    )


def connect_slices(
    spec: str | Path,
    *,
    collection: str,
    rows: int,
    keep: Callable[[bytes], str],
    known: Callable[[str], Iterable[str]],
) -> Source:
    """
    The Parquet file that *spec* names as slices of *rows* rows, whose columns *keep* puts among the artifacts.

    *known* tells the ids of the slices of a table, by its name, that are stored.

    Raises:
        UsageError: there is no such file, or it is none of Parquet.
    """
    from limner.sources.slices import Slices

    path = Path(spec)
    _ending(path)
    return Slices(path, collection=collection, rows=rows, keep=keep, known=known)


def _of_path(
    path: Path,
    *,
    ending: str,
    collection: str,
    reader: Reader,
    columns: Columns,
    patterns: Sequence[str] | None,
    address_field: str,
) -> Source:
    makers: dict[str, Callable[[], Source]] = {
        "folder": lambda: _folder(path, collection, columns, patterns, address_field),
        ".csv": lambda: _csv(path, collection, columns),
        ".tsv": lambda: _csv(path, collection, columns),
        ".jsonl": lambda: _json_lines(path, collection, reader),
        ".ndjson": lambda: _json_lines(path, collection, reader),
        ".json": lambda: _json_file(path, collection, reader),
        ".parquet": lambda: _parquet(path, collection, columns),
        ".txt": lambda: _urls(path, collection, address_field),
    }
    return makers[ending]()


def _ending(path: Path) -> str:
    """The ending that says how *path* is read, or ``folder``."""
    if "://" in str(path) or ":/" in str(path):
        raise UsageError(f"{path} is an address; put addresses into a .txt file, one a line, and name that.")
    if not path.exists():
        raise UsageError(f"There is no {path}; name a folder, a file ({', '.join(ENDINGS)}), or - for standard input.")
    if path.is_dir():
        return "folder"
    ending = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if ending not in ENDINGS or (ending == ".parquet" and path.suffix == ".gz"):
        raise UsageError(f"{path} has no ending that says how to read it; known are: {', '.join(ENDINGS)}.")
    if path.is_file() and path.stat().st_size == 0:
        raise UsageError(f"{path} is empty.")
    return ending


def _reader(shape: str | None, *, shapes: Mapping[str, Shape], columns: Columns) -> Reader:
    if shape is None:
        return lambda row, collection: [record_of(row, collection=collection, columns=columns)]
    if shape not in shapes:
        known = ", ".join(sorted(shapes)) or "none; the system that brings them is not installed"
        raise UsageError(f"There is no shape {shape}; known are: {known}.")
    return shapes[shape].read


def _folder(
    path: Path, collection: str, columns: Columns, patterns: Sequence[str] | None, address_field: str
) -> Source:
    from limner.sources.folder import PICTURES, Folder

    folder = Folder(
        path, collection=collection, columns=columns, patterns=patterns or PICTURES, address_field=address_field
    )
    folder.require_one()
    return folder


def _csv(path: Path, collection: str, columns: Columns) -> Source:
    from limner.sources.csv import CsvFile

    return CsvFile(path, collection=collection, columns=columns)


def _json_lines(path: Path, collection: str, reader: Reader) -> Source:
    from limner.sources.jsonl import JsonLines

    return JsonLines(path, collection=collection, reader=reader)


def _json_file(path: Path, collection: str, reader: Reader) -> Source:
    from limner.sources.jsonl import JsonFile

    return JsonFile(path, collection=collection, reader=reader)


def _parquet(path: Path, collection: str, columns: Columns) -> Source:
    from limner.sources.parquet import ParquetFile

    return ParquetFile(path, collection=collection, columns=columns)


def _urls(path: Path, collection: str, address_field: str) -> Source:
    from limner.sources.urls import UrlList

    return UrlList(path, collection=collection, address_field=address_field)
