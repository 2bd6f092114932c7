"""The contract of a sink: pages of records with their values go in, and appear whole or not at all."""

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from limner.domain.records import ExportRow
from limner.errors import UsageError
from limner.sinks.layout import Layout


class Sink(ABC):
    """
    Takes a collection out: ``with sink: sink.open(layout); sink.write(page) …; sink.close()``.

    A file sink is written anew each time and appears only when it is closed. A sink that is changed in place (a
    table) writes by record id, so that a page written twice does no harm: whoever feeds it notes the number of the
    journal entry behind each page once ``write`` has returned, and goes on from there after a stop.
    """

    @abstractmethod
    def describe(self) -> str:
        """What it is, for a person: kind and place."""

    @abstractmethod
    def open(self, layout: Layout) -> None:
        """
        Make ready for rows of *layout*.

        Raises:
            UsageError: the place cannot be written to.
        """

    @abstractmethod
    def write(self, rows: Sequence[ExportRow]) -> None:
        """
        Take one page of rows, in the order of the page.

        Raises:
            UsageError: a row holds what *layout* did not announce, or the place is full.
        """

    @abstractmethod
    def close(self) -> None:
        """Make what was written appear; the last call of a run that went well."""

    @abstractmethod
    def discard(self) -> None:
        """Leave nothing behind of a run that did not end; after ``close`` nothing is done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class FileSink(Sink):
    """A sink that writes a file beside the one asked for, and gives it its name at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._opened = False

    def open(self, layout: Layout) -> None:
        """Begin the file beside."""
        if self._path.is_dir():
            raise UsageError(f"{self._path} is a folder; name a file in it.")
        try:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            self._begin(self._part, layout=layout)
        except OSError as error:
            raise self._unwritable(error) from error
        self._opened = True

    def write(self, rows: Sequence[ExportRow]) -> None:
        """Take one page of rows."""
        if not self._opened:
            raise UsageError(f"The export to {self._path} is not open.")
        try:
            self._take(rows)
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Finish the file, make sure that it is on the disk, and give it its name."""
        if not self._opened:
            return
        try:
            self._finish()
            with self._part.open("rb+") as file:
                os.fsync(file.fileno())
            self._part.replace(self._path)
        except OSError as error:
            raise self._unwritable(error) from error
        self._opened = False

    def discard(self) -> None:
        """Remove the file beside."""
        if self._opened:
            self._abandon()
            self._opened = False
        self._part.unlink(missing_ok=True)

    @abstractmethod
    def _begin(self, path: Path, *, layout: Layout) -> None:
        """Open *path* for writing."""

    @abstractmethod
    def _take(self, rows: Sequence[ExportRow]) -> None:
        """Write *rows*."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what is left and let go of the file."""

    @abstractmethod
    def _abandon(self) -> None:
        """Let go of the file, whatever is in it."""

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"{self._path} cannot be written: {error.strerror or error}.")


def export(pages: Iterable[Sequence[ExportRow]], *, to: Sink, layout: Layout) -> int:
    """
    Write all *pages* to a sink; returns how many rows there were.

    Raises:
        UsageError: the sink cannot take them; nothing of the run is left behind.
    """
    count = 0
    with to:
        to.open(layout)
        for page in pages:
            to.write(page)
            count += len(page)
        to.close()
    return count
