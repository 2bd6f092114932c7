"""Narrowing: which slots of a generation keep a query's words and conditions, as one mark a slot."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from limner.search.base import Match
from limner.search.cache import Cache
from limner.search.conditions import EXACT, Predicate, Stored
from limner.search.tables import COMPLETE, Tables, codes_of
from limner.search.vectors import Scores, Slots
from limner.search.words import asked, needed

Marks: TypeAlias = npt.NDArray[np.bool_]
#: Longest list of values whose marks are kept for each value.
_REMEMBERED = 16


class Narrowing:
    """Reads marks, orders and word scores from *tables*, one state of a generation."""

    def __init__(self, tables: Tables, *, slots: int, cache: Cache, weights: Sequence[float]) -> None:
        self._tables = tables
        self._slots = slots
        self._cache = cache
        self._weights = weights
        self.codes = codes_of(tables)

    def everything(self) -> Marks:
        """All documents."""
        return self._marks(("all",), ask=lambda: self._tables.slots("SELECT slot FROM @documents"))

    def count(self) -> int:
        """How many documents there are; a follower asks often, and to count them all takes the database long."""
        sql = "SELECT count(*) FROM @documents"
        counted = self._cache.get(("count",), make=lambda: np.array(self._tables.rows(sql), dtype=np.int64))
        return int(counted[0, 0])

    def having(self, path: str) -> Marks:
        """The documents that have anything at *path*."""
        return self.keeping(Predicate(path=path))

    def complete(self) -> Marks:
        """The documents whose required stages are all current."""
        return self.having(COMPLETE)

    def keeping(self, predicate: Predicate) -> Marks:
        """The documents that keep *predicate*, or do not if it is negated."""
        found = self._within(predicate.path, bound=predicate.bound) if predicate.bound else None
        if found is None and predicate.one_of and len(predicate.one_of) <= _REMEMBERED:
            # One by one, since another list of the same few values will come.
            each = [Predicate(path=predicate.path, tests=(("=", value),)) for value in predicate.one_of]
            found = np.logical_or.reduce([self._keeping(one) for one in each])
        if found is None:
            found = self._keeping(predicate)
        return self.everything() & ~found if predicate.negated else found

    def matching(self, text: str, *, match: Match) -> Marks:
        """The documents that hold enough of the words of *text*; none where it has no word."""
        words = asked(text)
        enough = needed(len(words)) if match is Match.MOST else len(words)
        if not words:
            return np.zeros(self._slots, dtype=np.bool_)
        if enough == len(words):
            return self._holding(words)
        held = np.zeros(self._slots, dtype=np.int64)
        for word in words:
            held += self._holding([word])
        return held >= enough

    def scores(self, text: str) -> tuple[Slots, Scores]:
        """The slots with any word of *text*, and how well they match."""
        words = asked(text)
        if not words:
            return np.empty(0, dtype=np.int64), np.empty(0)
        return self._cache.get(("scores", *words), make=lambda: self._tables.scores(words, weights=self._weights))

    def order(self, path: str | None, *, descending: bool) -> Slots:
        """
        All slots by the values at *path* and then by id, those without a value last; by id alone if None.

        Of several values the least counts, or the greatest where the order is descending.
        """

        def ask() -> Slots:
            by_id = self._tables.slots("SELECT slot FROM @documents ORDER BY id")
            if path is None:
                return by_id[::-1] if descending else by_id
            valued = self._tables.slots(
                "SELECT slot FROM @documents JOIN @facts USING (slot) WHERE code = ?"
                f" ORDER BY value {'DESC' if descending else 'ASC'}, id",
                (self.codes[path],),
            )
            together = np.concatenate([valued, by_id])
            # Each slot where it stands first: by its value, or else among those without one.
            return together[np.sort(np.unique(together, return_index=True)[1])]

        return self._cache.get(("order", path, descending), make=ask)

    def counts(self, path: str, *, among: Marks) -> list[tuple[Stored, int]]:
        """The values at *path* of the documents *among*, with how many have each; the most frequent first."""

        def ask() -> tuple[list[Stored], Slots, Slots]:
            values, counts, slots = self._tables.values(self.codes[path])
            sizes = np.array(counts, dtype=np.int64)
            return values, slots, np.cumsum(sizes) - sizes

        values, slots, starts = self._cache.get(("counts", path), make=ask)
        if not values:
            return []
        found = np.add.reduceat(among[slots].astype(np.int64), starts)
        # The values stand in their order, which a stable sort keeps among equal counts.
        return [(values[at], int(found[at])) for at in np.argsort(-found, kind="stable") if found[at]]

    def _keeping(self, predicate: Predicate) -> Marks:
        code = self.codes[predicate.path]
        values = predicate.one_of if predicate.one_of is not None else [value for _, value in predicate.tests]
        signs = None if predicate.one_of is not None else tuple(sign for sign, _ in predicate.tests)
        key = ("facts", code, signs, *((type(value), value) for value in values))
        return self._marks(key, ask=lambda: self._tables.keeping(code, predicate))

    def _within(self, path: str, *, bound: tuple[str, float]) -> Marks | None:
        """The documents with a number at *path* inside of *bound*; None where double precision is too coarse."""
        values, slots = self._numbers_at(path)
        if len(values) and max(abs(values[0]), abs(values[-1])) > EXACT:
            return None
        sign, end = bound
        at = int(np.searchsorted(values, end, side="left" if sign in ("<", ">=") else "right"))
        marks = np.zeros(self._slots, dtype=np.bool_)
        marks[slots[:at] if sign in ("<", "<=") else slots[at:]] = True
        return marks

    def _numbers_at(self, path: str) -> tuple[Scores, Slots]:
        """The numbers at *path*, rising, with their slots: ranges have many ends, so all are kept."""

        return self._cache.get(("numbers", path), make=lambda: self._tables.numbers(self.codes[path]))

    def _holding(self, words: Sequence[str]) -> Marks:
        return self._marks(("words", *words), ask=lambda: self._tables.holding(words))

    def _marks(self, key: tuple[object, ...], *, ask: Callable[[], Slots]) -> Marks:
        def make() -> Marks:
            marks = np.zeros(self._slots, dtype=np.bool_)
            marks[ask()] = True
            return marks

        return self._cache.get(key, make=make)
