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
from limner.inferrers.shared import KEPT_BYTES, MEGABYTE, SharedFiles

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

    def __init__(
        self, *, reads: Mapping[str, FileRead | None], wants: Mapping[str, Want], memory_mb: int | None = None
    ) -> None:
        """
        Prepare a decoder for each input; decoded files that are kept take no more than a quarter of *memory_mb*.

        Raises:
            MissingExtra: Pillow or NumPy is needed and not installed.
        """
        self._names = sorted(reads)
        self._reads = {name: read for name, read in reads.items() if read is not None}
        self._given = dict(reads)
        self._options = {name: _options(read) for name, read in self._reads.items()}
        self._decoders: dict[str, Decode | None] = {
            name: decoder_for(wants[name], read=reads[name]) for name in self._names
        }
        self._opened_by_inferrer = [name for name in self._reads if wants[name] not in (Want.PICTURE, Want.ARRAY)]
        self._wants = dict(wants)
        #: Siblings of one parent share its file, across batches too.
        self._shared = SharedFiles(max_bytes=min(KEPT_BYTES, (memory_mb or 1000) * MEGABYTE // 4))

    @property
    def decoded(self) -> int:
        """Files that were decoded so far."""
        return self._shared.decoded

    def forget(self) -> None:
        """Drop decoded files that are kept: their memory is needed."""
        self._shared.forget()

    def digests(self, columns: Mapping[str, list[bytes]]) -> list[bytes]:
        """
        The read digest of each record: over its inputs in the order of their names.

        A value counts by its encoded bytes, a file by its SHA-256 and how it is decoded.
        """
        return read_digests(columns, reads=self._given)

    def decode(self, columns: Mapping[str, list[bytes]], *, indexes: list[int]) -> Decoded:
        """What the inferrer is handed for the records at *indexes*; the same file is decoded once, for all of them."""
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
        decoder, want, options = self._decoders[name], self._wants[name], self._options[name]
        if want in (Want.PATH, Want.VALUE):
            # Each record keeps its own path, whose name may tell it something.
            return [decoder(file) if file and decoder else None for file in files]
        known: dict[str, object] = {}
        column: list[object] = []
        for file in files:
            if file is None or decoder is None:
                column.append(None)
                continue
            if file.sha256 not in known:
                known[file.sha256] = self._shared.get((file.sha256, want, options), file, decode=decoder)
            column.append(self._shared.hand_out(known[file.sha256], want=want))
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


def _options(read: FileRead) -> bytes:
    """How a file is decoded; limits, address and checksum do not change what it decodes to."""
    return encode([read.upright, read.at_least])
