"""The inputs of a task's records: their read digests, and what the inferrer is handed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from limner.domain.digests import digest
from limner.domain.failures import FailedRecord
from limner.domain.reads import FileRead
from limner.domain.tasks import LocalFile
from limner.domain.values import decode, encode
from limner.inferrers.base import Want
from limner.inferrers.decode import Decode, decoder_for

_files = msgspec.msgpack.Decoder(LocalFile | None)
_NOTHING = b"\xc0"


class Decoded(Struct, kw_only=True):
    """Decoded inputs of some records, and those that could not be decoded."""

    #: Positions that were decoded, in order.
    indexes: list[int]
    #: By input, one object for each of *indexes*.
    columns: dict[str, list[object]]
    #: By position, why a record could not be decoded.
    failed: dict[int, FailedRecord]


class Inputs:
    """Digests and decodes what a stage reads, column by column."""

    def __init__(self, *, reads: Mapping[str, FileRead | None], wants: Mapping[str, Want]) -> None:
        """
        Prepare a decoder for each input.

        Raises:
            MissingExtra: Pillow or NumPy is needed and not installed.
        """
        self._names = sorted(reads)
        self._reads = {name: read for name, read in reads.items() if read is not None}
        self._given = dict(reads)
        self._decoders: dict[str, Decode | None] = {
            name: decoder_for(wants[name], read=reads[name]) for name in self._names
        }
        self._opened_by_inferrer = [name for name in self._reads if wants[name] not in (Want.PICTURE, Want.ARRAY)]
        #: By input, the file that was decoded last: siblings of one parent share it, across batches too.
        self._last: dict[str, tuple[str, object]] = {}

    def digests(self, columns: Mapping[str, list[bytes]]) -> list[bytes]:
        """
        The read digest of each record: over its inputs in the order of their names.

        A value counts by its encoded bytes, a file by its SHA-256 and how it is decoded.
        """
        return read_digests(columns, reads=self._given)

    def decode(self, columns: Mapping[str, list[bytes]], *, indexes: list[int]) -> Decoded:
        """What the inferrer is handed for the records at *indexes*; the same file is decoded once."""
        found: dict[str, list[object]] = {}
        failed: dict[int, FailedRecord] = {}
        for name in self._names:
            raw = columns[name]
            if name in self._reads:
                column = self._decode_files(name, [_files.decode(raw[index]) for index in indexes])
                failed |= {i: item for i, item in zip(indexes, column, strict=True) if isinstance(item, FailedRecord)}
            else:
                convert = self._decoders[name]
                column = [decode(raw[index]) for index in indexes]
                column = [convert(value) for value in column] if convert else column
            found[name] = column
        if not failed:
            return Decoded(indexes=indexes, columns=found, failed=failed)
        kept = [position for position, index in enumerate(indexes) if index not in failed]
        return Decoded(
            indexes=[indexes[position] for position in kept],
            columns={name: [column[position] for position in kept] for name, column in found.items()},
            failed=failed,
        )

    def opened_by_inferrer(self, columns: Mapping[str, list[bytes]], *, index: int) -> list[tuple[Path, FileRead]]:
        """The files of one record that the inferrer was handed undecoded."""
        found = [(_files.decode(columns[name][index]), self._reads[name]) for name in self._opened_by_inferrer]
        return [(Path(file.path), read) for file, read in found if file]

    def _decode_files(self, name: str, files: Sequence[LocalFile | None]) -> list[object]:
        """By file what it decodes to, or why it does not."""
        decoder = self._decoders[name]
        known = dict([self._last[name]]) if name in self._last else {}
        column: list[object] = []
        for file in files:
            if file is None or decoder is None:
                column.append(None)
                continue
            if file.sha256 not in known:
                known[file.sha256] = _decoded(decoder, file)
            column.append(known[file.sha256])
        # A failure is not kept: the copy that could not be read may have been fetched again.
        if name not in self._opened_by_inferrer and files[-1] and not isinstance(column[-1], FailedRecord):
            self._last[name] = (files[-1].sha256, column[-1])
        return column


def read_digests(columns: Mapping[str, list[bytes]], *, reads: Mapping[str, FileRead | None]) -> list[bytes]:
    """The read digest of each record, as :meth:`Inputs.digests` says."""
    parts = [_parts(columns[name], read=reads[name]) for name in sorted(reads)]
    return [digest(row) for row in zip(*parts, strict=True)]


def _parts(column: list[bytes], *, read: FileRead | None) -> Sequence[bytes]:
    """What one input adds to the digests."""
    if read is None:
        return column
    options = _options(read)
    files = [_files.decode(raw) for raw in column]
    return [file.sha256.encode() + options if file else _NOTHING for file in files]


def _decoded(decoder: Decode, file: LocalFile) -> object:
    try:
        return decoder(file)
    except FailedRecord as failure:
        return failure


def _options(read: FileRead) -> bytes:
    """How a file is decoded; limits, address and checksum do not change what it decodes to."""
    return encode([read.upright, read.at_least])
