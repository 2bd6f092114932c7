"""Predicted values as bytes, and which of them a table can hold."""

import math
import zlib
from collections.abc import Mapping, Sequence

import msgspec

from limner.domain.failures import FailureCode
from limner.systems.ersilia.columns import Cell
from limner.systems.ersilia.nouns import Failed, KeyScheme, Prediction, Release

# The first byte says whether what follows is MessagePack as it is, or packed by zlib.
_PLAIN, _PACKED = b"\0", b"\1"
#: Shorter ones would grow by the dictionary that zlib adds.
_WORTH_PACKING = 64

_cells = msgspec.msgpack.Decoder(tuple[Cell, ...])
_failed = msgspec.msgpack.Decoder(Failed)
_detail = msgspec.msgpack.Decoder(dict[str, str])
_encoder = msgspec.msgpack.Encoder()


def pack(cells: Sequence[Cell]) -> bytes:
    """The values of one prediction; every float comes back bit for bit."""
    return _pack(_encoder.encode(cells))


def unpack(data: bytes) -> tuple[Cell, ...]:
    """What was given to :func:`pack`."""
    return _cells.decode(_unpack(data))


def pack_failed(failed: Failed) -> bytes:
    """A failure."""
    return _pack(_encoder.encode(failed))


def unpack_failed(data: bytes) -> Failed:
    """What was given to :func:`pack_failed`."""
    return _failed.decode(_unpack(data))


def pack_detail(detail: Mapping[str, str]) -> bytes | None:
    """Other facts; None where there are none."""
    return _pack(_encoder.encode(dict(sorted(detail.items())))) if detail else None


def unpack_detail(data: bytes | None) -> dict[str, str]:
    """What was given to :func:`pack_detail`."""
    return {} if data is None else _detail.decode(_unpack(data))


def refusal(prediction: Prediction, *, release: Release, scheme: KeyScheme) -> Failed | None:
    """Why no table can hold *prediction*; None where each can."""
    if not scheme.fits(prediction.key):
        return Failed(
            code=FailureCode.INPUT_INVALID,
            reason="bad_key",
            message=f"bad_key: {prediction.key[:60]!r} is no key of the scheme {scheme}.",
        )
    values = prediction.values
    if values is None:
        return None
    if len(values) != len(release.columns):
        return Failed(
            code=FailureCode.OUTPUT_INVALID,
            reason="bad_columns",
            message=f"bad_columns: {release.model} has {len(release.columns)} columns, and there are {len(values)}.",
        )
    place = None if _surely_finite(values) else _first_strange(values)
    if place is None:
        return None
    return not_representable(release.columns[place].name, value=values[place])


def not_representable(column: str, *, value: Cell) -> Failed:
    """The failure of a number that a table cannot hold."""
    return Failed(
        code=FailureCode.OUTPUT_INVALID,
        reason="not_representable",
        message=f"not_representable: {value!r} in column {column} is a number that cannot be stored.",
    )


def _surely_finite(values: Sequence[Cell]) -> bool:
    """Whether all are small finite numbers, by one fast sum; False leaves the question open."""
    try:
        return abs(sum(values)) < 1e15  # type: ignore[arg-type]  # what is no number is told by the exception
    except (TypeError, OverflowError):
        return False


def _first_strange(values: Sequence[Cell]) -> int | None:
    for place, value in enumerate(values):
        if isinstance(value, float) and not math.isfinite(value):
            return place
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return place
    return None


def _pack(data: bytes) -> bytes:
    if len(data) < _WORTH_PACKING:
        return _PLAIN + data
    packed = zlib.compress(data, 1)
    return _PACKED + packed if len(packed) < len(data) else _PLAIN + data


def _unpack(data: bytes) -> bytes:
    return zlib.decompress(data[1:]) if data[:1] == _PACKED else data[1:]
