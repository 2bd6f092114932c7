"""A snapshot: which samples a trainer was handed, named by the digest of their ids."""

import hashlib

from msgspec import Struct


class Snapshot(Struct, frozen=True, kw_only=True):
    """A frozen set of samples."""

    #: How many there are.
    count: int
    #: Digest of their ids in the order in which they were handed out; hexadecimal.
    ids: str


class Noting:
    """Takes down ids as they go by, in constant memory."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._count = 0

    def note(self, identity: str) -> None:
        """Take down one id."""
        data = identity.encode()
        # With its length, so that no two different lists of ids read alike.
        self._digest.update(len(data).to_bytes(4, "little") + data)
        self._count += 1

    @property
    def snapshot(self) -> Snapshot:
        """What went by so far."""
        return Snapshot(count=self._count, ids=self._digest.hexdigest())
