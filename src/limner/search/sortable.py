"""Filter values as bytes that sort as the values do: numbers by size, then words by code point, then flags."""

import struct

import numpy as np

from limner.search.conditions import Stored
from limner.search.vectors import Scores

_NUMBER, _WORD, _FLAG = b"\x01", b"\x02", b"\x03"
#: A number: its kind, the bits of its double so that they rise with it, and by how much a whole number differs from it.
_LAYOUT = struct.Struct(">cQH")
_DTYPE = np.dtype([("kind", "u1"), ("bits", ">u8"), ("rest", ">u2")])
#: Whole numbers beyond are held as doubles.
_LARGEST = 2.0**63
_SIGN, _ALL, _MIDDLE = 1 << 63, (1 << 64) - 1, 1 << 15
#: What every word's bytes, and no number's, are at least.
FIRST_WORD = _WORD


def encoded(value: Stored) -> bytes:
    """*value* as bytes; equal exactly for equal values, less exactly for lesser ones."""
    if isinstance(value, str):
        return _WORD + value.encode()
    if isinstance(value, bytes):
        return _FLAG + value
    # Minus zero is zero.
    double = float(value) + 0.0
    [bits] = struct.unpack(">Q", struct.pack(">d", double))
    bits = bits ^ _ALL if bits & _SIGN else bits | _SIGN
    # A double holds whole numbers up to 2**53; the next to a larger one is at most 512 away.
    rest = value - int(double) if isinstance(value, int) else 0
    return _LAYOUT.pack(_NUMBER, bits, _MIDDLE + rest)


def decoded(held: bytes) -> Stored:
    """What :func:`encoded` made *held* of; a number without fraction is a whole one."""
    kind = held[:1]
    if kind == _WORD:
        return held[1:].decode()
    if kind == _FLAG:
        return held[1:]
    _, bits, rest = _LAYOUT.unpack(held)
    [double] = struct.unpack(">d", struct.pack(">Q", bits ^ _SIGN if bits & _SIGN else bits ^ _ALL))
    number = float(double)
    return int(number) + rest - _MIDDLE if number.is_integer() and abs(number) <= _LARGEST else number


def doubles(joined: bytes) -> Scores:
    """The numbers whose bytes stand one after another in *joined*, each as the double nearest to it."""
    bits = np.frombuffer(joined, dtype=_DTYPE)["bits"].astype(np.uint64)
    positive = bits >= np.uint64(_SIGN)
    return np.where(positive, bits ^ np.uint64(_SIGN), ~bits).view(np.float64)
