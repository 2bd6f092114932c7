"""Lines of text files, one at a time, so that a bad byte or an endless line costs one row."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from limner.errors import UsageError

#: Bytes of one line at most; records with whole books of text stay far below.
MAX_LINE = 64 * 1024 * 1024
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"


def open_bytes(path: Path) -> IO[bytes]:
    """
    *path* for reading; what ends in ``.gz`` is unpacked on the way.

    Raises:
        UsageError: it cannot be opened.
    """
    try:
        return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be opened: {error.strerror or error}.") from error


def numbered_lines(stream: IO[bytes], *, name: str) -> Iterator[tuple[int, bytes | None]]:
    """
    Yield each line of *stream* with its number from 1 and its line end; None for one beyond MAX_LINE.

    A byte order mark at the start is dropped.

    Raises:
        UsageError: the stream is UTF-16, or breaks off; *name* says in the sentence which it is.
    """
    try:
        for number, line in enumerate(_bounded(stream), start=1):
            if number == 1 and line is not None:
                if line.startswith(_UTF16):
                    raise UsageError(f"{name} is UTF-16; save it as UTF-8.")
                line = line.removeprefix(_BOM)
            yield number, line
    except (EOFError, zlib.error, OSError) as error:
        raise UsageError(f"{name} cannot be read to its end: {error}. What came before it was taken.") from error


def _bounded(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Lines of at most MAX_LINE bytes; None for a longer one, which is passed over without keeping it."""
    while line := stream.readline(MAX_LINE):
        if line.endswith(b"\n") or len(line) < MAX_LINE:
            yield line
            continue
        while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
            pass
        yield None
