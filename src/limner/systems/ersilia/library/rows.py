"""Rows of a library file, in every shape that they come in: what each holds, or why it holds no molecule."""

import csv
from collections.abc import Iterator, Sequence
from typing import IO

from msgspec import Struct

from limner.errors import UsageError
from limner.sources.lines import numbered_lines
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.reasons import Reason

#: Characters of a SMILES at most.
MAX_SMILES = 2000
_MOLECULE = ("smiles", "input")
_KEY = "key"
#: Characters of a row that cannot be read that are kept.
_SHOWN = 200


class LibraryRow(Struct, frozen=True, kw_only=True):
    """One row of a library: a molecule, or why there is none."""

    #: From 1; the header and blank lines are no rows.
    row: int
    #: The key that the file gives, trimmed; None in a file without keys.
    key: str | None = None
    #: Trimmed, without the name behind it; of a row without a molecule the beginning of what stands there.
    smiles: str
    #: What stood behind the first blank of the SMILES.
    name: str | None = None
    reason: Reason | None = None
    #: A sentence, where there is a reason.
    message: str = ""


class Layout(Struct, frozen=True, kw_only=True):
    """Which fields of a line are what."""

    #: How many fields a line has.
    fields: int
    molecule: int
    key: int | None
    header: bool


class LibraryRows:
    """Reads a library once; how its rows are laid out is known once the first was read."""

    def __init__(self, stream: IO[bytes], *, name: str, scheme: KeyScheme | None = None) -> None:
        """*scheme*: of the keys that the file gives; None takes that of the first one."""
        self._stream = stream
        self._name = name
        self._asked = scheme
        #: The scheme of its keys; that of InChIKeys where it gives none and none was asked for.
        self.scheme = scheme or KeyScheme.INCHIKEY
        #: Whether it gives keys.
        self.keyed = False
        #: Wholly blank lines that were passed over so far.
        self.blank_lines = 0

    def __iter__(self) -> Iterator[LibraryRow]:
        """
        Every row in the order of the file, streaming.

        Raises:
            UsageError: the header names no column of molecules, or the file cannot be read.
        """
        layout: Layout | None = None
        number = 0
        for _, line in numbered_lines(self._stream, name=self._name):
            bare = line if line is None else line.removesuffix(b"\n").removesuffix(b"\r")
            if bare == b"":
                self.blank_lines += 1
                continue
            fields = None if bare is None else _fields(bare)
            if layout is None:
                layout = self._layout(fields)
                self.keyed = layout.key is not None
                if layout.header:
                    continue
            if number == 0:
                self._learn_scheme(layout, fields)
            number += 1
            yield self._row(number, layout, fields, bare)

    def _layout(self, first: Sequence[str] | None) -> Layout:
        """
        How the lines are laid out, by the first one.

        It is a header only if it holds one of the names, never because it is no molecule.
        """
        names = [field.strip().lower() for field in first or ()]
        if _KEY in names or any(name in names for name in _MOLECULE):
            molecule = next((names.index(name) for name in _MOLECULE if name in names), None)
            if molecule is None:
                raise UsageError(f"{self._name} has a header without a column smiles or input: {', '.join(names)}.")
            key = names.index(_KEY) if _KEY in names else None
            return Layout(fields=len(names), molecule=molecule, key=key, header=True)
        if len(names) == 2 and first is not None and any(scheme.fits(first[0].strip()) for scheme in KeyScheme):
            return Layout(fields=2, molecule=1, key=0, header=False)
        return Layout(fields=1, molecule=0, key=None, header=False)

    def _learn_scheme(self, layout: Layout, fields: Sequence[str] | None) -> None:
        """Take the scheme of the first row's key, unless one was asked for."""
        if self._asked is not None or layout.key is None or fields is None or len(fields) != layout.fields:
            return
        key = fields[layout.key].strip()
        self.scheme = next((scheme for scheme in KeyScheme if scheme.fits(key)), self.scheme)

    def _row(self, number: int, layout: Layout, fields: Sequence[str] | None, line: bytes | None) -> LibraryRow:
        if fields is None or len(fields) != layout.fields:
            told = "is no UTF-8 text" if fields is None else f"has {len(fields)} fields, not {layout.fields}"
            shown = (line or b"")[:_SHOWN].decode(errors="backslashreplace")
            return _without(number, None, shown, Reason.BAD_ROW, f"The row {told}.")
        key = None if layout.key is None else fields[layout.key].strip()
        smiles, _, name = fields[layout.molecule].strip().replace("\t", " ").partition(" ")
        if key is not None and not self.scheme.fits(key):
            told = f"The key {key[:_SHOWN]!r} is no {self.scheme}." if key else "The key is blank."
            return _without(number, key, smiles, Reason.BAD_KEY, told)
        if not smiles:
            return _without(number, key, "", Reason.EMPTY_INPUT, "The row holds no SMILES.")
        if len(smiles) > MAX_SMILES:
            told = f"The SMILES has {len(smiles):,} characters, and {MAX_SMILES:,} are allowed."
            return _without(number, key, smiles, Reason.INPUT_TOO_LONG, told)
        return LibraryRow(row=number, key=key, smiles=smiles, name=name.strip() or None)


def _fields(line: bytes) -> list[str] | None:
    """The fields of a line; None where it is no text, or its quotes do not end."""
    try:
        text = line.decode()
        if '"' not in text:
            return text.split(",")
        return next(csv.reader([text], strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None


def _without(number: int, key: str | None, smiles: str, reason: Reason, message: str) -> LibraryRow:
    return LibraryRow(row=number, key=key, smiles=smiles[:_SHOWN], reason=reason, message=f"{reason.value}: {message}")
