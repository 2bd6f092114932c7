"""Values as bytes: canonical MessagePack, with numeric arrays as typed buffers."""

import math
import sys
from array import array
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from limner.domain.digests import digest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: What an inferrer may answer with and a record may hold: JSON's types, bytes, and numeric arrays.
Value: TypeAlias = Any

_ARRAY = 1
#: NumPy's type characters that arrays travel in, with those of the standard library's array module.
_TYPES = {"<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q", "|u1": "B", "|i1": "b", "<i2": "h", "<u2": "H", "<f2": ""}


def encode(value: Value) -> bytes:
    """*value* as canonical bytes: equal values have equal bytes, whatever the order of their keys."""
    return _encoder.encode(value)


def decode(data: bytes) -> Value:
    """The value of *data*; arrays come as NumPy arrays where NumPy is installed, else as ``array.array``."""
    return _decoder.decode(data)


def value_digest(value: Value) -> bytes:
    """The digest of *value*."""
    return digest(_encoder.encode(value))


def at_path(value: Value, path: tuple[str, ...]) -> Value:
    """What stands at *path* in nested dictionaries, None where a step is missing."""
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def finite(value: Value) -> bool:
    """Whether no number in *value* is infinite or not a number."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(finite(item) for item in value)
    if isinstance(value, array):
        return all(math.isfinite(item) for item in value)
    if type(value).__module__ == "numpy":
        import numpy as np

        return not np.issubdtype(value.dtype, np.floating) or bool(np.isfinite(value).all())
    return True


def plain(value: Value) -> Value:
    """*value* in JSON's types: arrays as lists, bytes as hexadecimal text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value.tolist() if hasattr(value, "tolist") else value


def _encode_other(value: object) -> object:
    """Turn arrays into typed buffers and NumPy scalars into Python's numbers (msgspec's hook)."""
    if isinstance(value, array):
        kind = next((name for name, code in _TYPES.items() if code == value.typecode), None)
        if kind is None:
            raise TypeError(f"an array of type {value.typecode!r} cannot be stored; use one of f, d, i, q, h, H, b, B")
        return msgspec.msgpack.Ext(_ARRAY, _header(kind, (len(value),)) + value.tobytes())
    if type(value).__module__ == "numpy":
        import numpy as np

        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, np.ndarray):
            return _encode_numpy(np.asarray(value, order="C"))
    raise TypeError(f"a {type(value).__name__} cannot be stored; answer with numbers, text, bytes, lists or arrays")


def _encode_numpy(value: "npt.NDArray[np.generic]") -> msgspec.msgpack.Ext:
    """A NumPy array as a little-endian typed buffer."""
    kind = value.dtype.newbyteorder("<").str
    if kind not in _TYPES:
        raise TypeError(f"an array of {value.dtype} cannot be stored; convert it to float32, float64 or an integer")
    return msgspec.msgpack.Ext(_ARRAY, _header(kind, value.shape) + value.astype(kind, copy=False).tobytes())


def _header(kind: str, shape: tuple[int, ...]) -> bytes:
    """Three characters of type, one byte of rank, four bytes for each dimension."""
    return kind.encode() + bytes([len(shape)]) + b"".join(size.to_bytes(4, "little") for size in shape)


def _decode_other(code: int, data: memoryview) -> object:
    """Turn a typed buffer back into an array (msgspec's hook)."""
    if code != _ARRAY:
        raise ValueError(f"unknown MessagePack extension {code}")
    kind, rank = bytes(data[:3]).decode(), data[3]
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "little") for i in range(rank))
    body = data[4 + 4 * rank :]
    try:
        import numpy as np
    except ImportError:
        if not _TYPES[kind]:
            raise ValueError("an array of float16 needs NumPy; run: pip install 'limner[pictures]'") from None
        flat = array(_TYPES[kind], bytes(body))
        if sys.byteorder == "big":
            flat.byteswap()
        return flat
    return np.frombuffer(body, dtype=kind).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other, order="deterministic")
_decoder = msgspec.msgpack.Decoder(ext_hook=_decode_other)
