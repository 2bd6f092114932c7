"""Which ids a source has yielded already, at about 30 bytes each whatever their length."""

from array import array
from collections.abc import Hashable

_WORD = 2**64 - 1


class Seen:
    """
    Remembers keys by a 64-bit hash, and the row where each stood first.

    Open addressing over two flat arrays: 12 bytes a slot, two thirds full at most; ten million ids take 200 MB,
    and two different ones among them meet in one hash with a probability of 3 in a million.
    """

    def __init__(self, *, slots: int = 1 << 12) -> None:
        #: A power of two.
        self._slots, self._used = slots, 0
        self._words = array("Q", bytes(8 * slots))
        self._rows = array("I", bytes(4 * slots))

    def first(self, key: Hashable, *, row: int) -> int:
        """The row at which *key* stood first: an earlier one, or *row* itself, which is then remembered."""
        if self._used * 3 >= self._slots * 2:
            self._grow()
        word = hash(key) & _WORD or 1
        at = self._find(word)
        if self._words[at]:
            return self._rows[at]
        self._words[at], self._rows[at] = word, row
        self._used += 1
        return row

    def _find(self, word: int) -> int:
        """The slot that holds *word*, or the empty one where it belongs."""
        at = word & (self._slots - 1)
        while self._words[at] not in (0, word):
            at = (at + 1) & (self._slots - 1)
        return at

    def _grow(self) -> None:
        larger = Seen(slots=self._slots * 2)
        for word, row in zip(self._words, self._rows, strict=True):
            if word:
                at = larger._find(word)
                larger._words[at], larger._rows[at] = word, row
        self._slots, self._words, self._rows = larger._slots, larger._words, larger._rows
