"""Narrowing: which slots of a generation keep a query's words and conditions, as one mark a slot."""

import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from limner.search.base import Match
from limner.search.cache import Cache
from limner.search.conditions import EXACT, Predicate, Stored
from limner.search.layout import COMPLETE
from limner.search.vectors import Scores, Slots
from limner.search.words import expressions, needed

Marks: TypeAlias = npt.NDArray[np.bool_]
#: Longest list of values whose marks are kept for each value.
_REMEMBERED = 16


class Narrowing:
    """Reads marks, orders and word scores from one state of a generation, over a connection inside a transaction."""

    def __init__(self, connection: sqlite3.Connection, *, slots: int, cache: Cache, weights: Sequence[float]) -> None:
        self._connection = connection
        self._slots = slots
        self._cache = cache
        self._weights = weights
        self.codes: dict[str, int] = {path: code for code, path in connection.execute("SELECT code, path FROM paths")}

    def everything(self) -> Marks:
        """All documents."""
        return self._marks(("all",), sql="SELECT group_concat(slot) FROM documents")

    def having(self, path: str) -> Marks:
        """The documents that have anything at *path*."""
        return self.keeping(Predicate(path=path, sql="1"))

    def complete(self) -> Marks:
        """The documents whose required stages are all current."""
        return self.having(COMPLETE)

    def keeping(self, predicate: Predicate) -> Marks:
        """The documents that keep *predicate*, or do not if it is negated."""
        found = self._within(predicate.path, bound=predicate.bound) if predicate.bound else None
        if found is None and 1 < len(predicate.values) <= _REMEMBERED:
            # One by one, since another list of the same few values will come.
            each = [Predicate(path=predicate.path, sql="value = ?", values=(value,)) for value in predicate.values]
            found = np.logical_or.reduce([self._keeping(one) for one in each])
        if found is None:
            found = self._keeping(predicate)
        return self.everything() & ~found if predicate.negated else found

    def matching(self, text: str, *, match: Match) -> Marks:
        """The documents that hold enough of the words of *text*; none where it has no word."""
        words = expressions(text)
        enough = needed(len(words)) if match is Match.MOST else len(words)
        if not words:
            return np.zeros(self._slots, dtype=np.bool_)
        if enough == len(words):
            return self._holding(" AND ".join(words))
        held = np.zeros(self._slots, dtype=np.int64)
        for word in words:
            held += self._holding(word)
        return held >= enough

    def scores(self, text: str) -> tuple[Slots, Scores]:
        """The slots with any word of *text*, and how well they match: BM25 with the paths' weights."""
        expression = " OR ".join(expressions(text))
        if not expression:
            return np.empty(0, dtype=np.int64), np.empty(0)
        weights = [*self._weights, 1.0]

        def ask() -> tuple[Slots, Scores]:
            sql = f"SELECT rowid, -bm25(words, {', '.join('?' * len(weights))}) FROM words WHERE words MATCH ?"
            rows = self._connection.execute(sql, (*weights, expression)).fetchall()
            pairs = np.array(rows, dtype=np.float64).reshape(-1, 2)
            return pairs[:, 0].astype(np.int64), pairs[:, 1]

        return self._cache.get(("scores", expression), make=ask)

    def order(self, path: str | None, *, descending: bool) -> Slots:
        """
        All slots by the values at *path* and then by id, those without a value last; by id alone if None.

        Of several values the least counts, or the greatest where the order is descending.
        """

        def ask() -> Slots:
            by_id = self._slots_of("SELECT group_concat(slot) FROM (SELECT slot FROM documents ORDER BY id)")
            if path is None:
                return by_id[::-1] if descending else by_id
            valued = self._slots_of(
                "SELECT group_concat(slot) FROM (SELECT slot FROM documents JOIN facts USING (slot) WHERE code = ?"
                f" ORDER BY value {'DESC' if descending else 'ASC'}, id)",
                values=(self.codes[path],),
            )
            together = np.concatenate([valued, by_id])
            # Each slot where it stands first: by its value, or else among those without one.
            return together[np.sort(np.unique(together, return_index=True)[1])]

        return self._cache.get(("order", path, descending), make=ask)

    def counts(self, path: str, *, among: Marks) -> list[tuple[Stored, int]]:
        """The values at *path* of the documents *among*, with how many have each; the most frequent first."""

        def ask() -> tuple[list[Stored], Slots, Slots]:
            rows = self._connection.execute(
                "SELECT value, group_concat(slot), count(*) FROM facts WHERE code = ? GROUP BY value",
                (self.codes[path],),
            ).fetchall()
            sizes = np.array([row[2] for row in rows], dtype=np.int64)
            slots = _numbers(",".join(row[1] for row in rows))
            return [row[0] for row in rows], slots, np.cumsum(sizes) - sizes

        values, slots, starts = self._cache.get(("counts", path), make=ask)
        if not values:
            return []
        found = np.add.reduceat(among[slots].astype(np.int64), starts)
        # The values stand in SQLite's order, which a stable sort keeps among equal counts.
        return [(values[at], int(found[at])) for at in np.argsort(-found, kind="stable") if found[at]]

    def _keeping(self, predicate: Predicate) -> Marks:
        code = self.codes[predicate.path]
        return self._marks(
            ("facts", code, predicate.sql, *((type(value), value) for value in predicate.values)),
            sql=f"SELECT group_concat(slot) FROM facts WHERE code = ? AND {predicate.sql}",
            values=(code, *predicate.values),
        )

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

        def ask() -> tuple[Scores, Slots]:
            numbers = "FROM facts WHERE code = ? AND value < '' ORDER BY value, slot"
            code = (self.codes[path],)
            rows = self._connection.execute(f"SELECT value {numbers}", code)
            values = np.fromiter((value for (value,) in rows), dtype=np.float64)
            return values, self._slots_of(f"SELECT group_concat(slot) FROM (SELECT slot {numbers})", values=code)

        return self._cache.get(("numbers", path), make=ask)

    def _holding(self, expression: str) -> Marks:
        sql = "SELECT group_concat(rowid) FROM words WHERE words MATCH ?"
        return self._marks(("words", expression), sql=sql, values=(expression,))

    def _marks(self, key: tuple[object, ...], *, sql: str, values: tuple[Stored, ...] = ()) -> Marks:
        def ask() -> Marks:
            marks = np.zeros(self._slots, dtype=np.bool_)
            marks[self._slots_of(sql, values=values)] = True
            return marks

        return self._cache.get(key, make=ask)

    def _slots_of(self, sql: str, *, values: tuple[Stored, ...] = ()) -> Slots:
        """The slots that *sql* concatenates: several times faster than a row for each."""
        return _numbers(self._connection.execute(sql, values).fetchone()[0])


def _numbers(joined: str | None) -> Slots:
    return np.fromstring(joined, dtype=np.int64, sep=",") if joined else np.empty(0, dtype=np.int64)
