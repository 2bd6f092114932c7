"""Digests: what makes two inputs, two values or two versions the same."""

import hashlib
from collections.abc import Iterable

#: Bytes of an input, value or version digest; artifacts use the whole SHA-256.
SIZE = 16


def digest(parts: bytes | Iterable[bytes]) -> bytes:
    """
    BLAKE2b (RFC 7693) of *parts*, 16 bytes.

    Several parts are joined with their lengths, so that no two different lists of parts have the same digest.
    """
    if isinstance(parts, bytes):
        return hashlib.blake2b(parts, digest_size=SIZE).digest()
    joined = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    return hashlib.blake2b(joined, digest_size=SIZE).digest()
