"""Lists of record keys as bytes: eight bytes each, little-endian."""

import sys
from array import array
from collections.abc import Iterable


def pack(keys: Iterable[int]) -> bytes:
    """*keys* in eight bytes each."""
    packed = array("q", keys)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack(data: bytes) -> "array[int]":
    """The keys in *data*."""
    keys = array("q", data)
    if sys.byteorder == "big":
        keys.byteswap()
    return keys
