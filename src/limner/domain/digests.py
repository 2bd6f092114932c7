"""Digests: what makes two inputs, two values or two versions the same."""

import hashlib
from collections.abc import Iterable

import msgspec

#: Bytes of an input, value or version digest; artifacts use the whole SHA-256.
SIZE = 16


def digest(parts: bytes | Iterable[bytes]) -> bytes:
    """
    BLAKE2b (RFC 7693) of *parts*, 16 bytes.

    Several parts are joined with their lengths, so that no two different lists of parts have the same digest.
    """
    if isinstance(parts, bytes):
        return hashlib.blake2b(parts, digest_size=SIZE).digest()
    return hashlib.blake2b(
        _encoder.encode(parts if isinstance(parts, list | tuple) else list(parts)), digest_size=SIZE
    ).digest()


#: A MessagePack list of byte strings holds their lengths.
_encoder = msgspec.msgpack.Encoder()
