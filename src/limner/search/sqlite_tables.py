"""The tables of a generation in SQLite: words by FTS5, vectors in flat files beside them."""

import json
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limner.search.conditions import Predicate, Stored
from limner.search.layout import vector_file
from limner.search.tables import WritableTables
from limner.search.vectors import Numbers, Scores, Slots, VectorFile
from limner.search.words import token

_TABLE = re.compile(r"@(?=[a-z])")


class SqliteTables(WritableTables):
    """The tables behind *connection*, which is inside a transaction, and the vectors in *folder*."""

    def __init__(self, connection: sqlite3.Connection, *, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self._touched: dict[int, VectorFile] = {}

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that *sql* selects."""
        return self._connection.execute(_TABLE.sub("", sql), values).fetchall()

    def slots(self, sql: str, values: Sequence[object] = ()) -> Slots:
        """What *sql* selects as ``slot``, joined by the database: several times faster than a row for each."""
        [(joined,)] = self.rows(f"SELECT group_concat(slot) FROM ({sql})", values)
        return _numbers(joined)

    def among(self, column: str, items: Sequence[str] | Sequence[int]) -> tuple[str, object]:
        """SQL that holds where *column* is one of *items*, and its value."""
        return f"{column} IN (SELECT value FROM json_each(?))", json.dumps(list(items))

    def keeping(self, code: int, predicate: Predicate) -> Slots:
        """The slots with a value that keeps *predicate*; SQLite sorts numbers before texts before bytes, as we do."""
        tests = [f"value {sign} ?" for sign, _ in predicate.tests]
        values = [value for _, value in predicate.tests]
        if predicate.one_of is not None:
            tests, values = [f"value IN ({','.join('?' * len(predicate.one_of))})"], list(predicate.one_of)
        sql = " AND ".join(["SELECT slot FROM facts WHERE code = ?", *tests])
        return self.slots(sql, (code, *values))

    def numbers(self, code: int) -> tuple[Scores, Slots]:
        """The numbers at the path with *code*, rising, with their slots."""
        numbers = "FROM facts WHERE code = ? AND value < '' ORDER BY value, slot"
        rows = self._connection.execute(f"SELECT value {numbers}", (code,))
        values = np.fromiter((value for (value,) in rows), dtype=np.float64)
        return values, self.slots(f"SELECT slot {numbers}", (code,))

    def values(self, code: int) -> tuple[list[Stored], list[int], Slots]:
        """The values at the path with *code* in their order, how many slots have each, and those slots in a row."""
        sql = "SELECT value, group_concat(slot), count(*) FROM facts WHERE code = ? GROUP BY value ORDER BY value"
        rows = self.rows(sql, (code,))
        return [row[0] for row in rows], [row[2] for row in rows], _numbers(",".join(row[1] for row in rows))

    def holding(self, words: Sequence[str]) -> Slots:
        """The slots of the documents that hold all of *words*."""
        expression = " AND ".join(_expression(word) for word in words)
        return self.slots("SELECT rowid AS slot FROM words WHERE words MATCH ?", (expression,))

    def scores(self, words: Sequence[str], *, weights: Sequence[float]) -> tuple[Slots, Scores]:
        """The slots that hold any of *words*, and FTS5's BM25."""
        every = [*weights, 1.0]
        expression = " OR ".join(_expression(word) for word in words)
        sql = f"SELECT rowid, -bm25(words, {', '.join('?' * len(every))}) FROM words WHERE words MATCH ?"
        pairs = np.array(self.rows(sql, (*every, expression)), dtype=np.float64).reshape(-1, 2)
        return pairs[:, 0].astype(np.int64), pairs[:, 1]

    def run(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Do *sql* once for each of *rows*."""
        self._connection.executemany(_TABLE.sub("", sql), rows)

    def put_documents(self, rows: Sequence[tuple[int, str, str, str, bool, bytes, bytes]]) -> None:
        """Put in rows of slot, id, digest, digest of the vectors, complete, versions, body."""
        self.run("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def put_facts(self, facts: set[tuple[int, Stored, int]]) -> None:
        """Put in facts in the order of their key, so that the table grows at few places."""
        rows: list[tuple[int, Stored, int]] = sorted(facts, key=_key)
        self.run("INSERT INTO facts VALUES (?, ?, ?)", rows)

    def put_words(self, rows: Sequence[tuple[int, Sequence[str]]]) -> None:
        """Put in, by slot, the texts of the mapping's text paths and the identifiers."""
        if rows:
            columns = ", ".join(["rowid", *(f"t{number}" for number in range(len(rows[0][1]) - 1)), "whole"])
            places = ", ".join("?" * (len(rows[0][1]) + 1))
            self.run(f"INSERT INTO words ({columns}) VALUES ({places})", [(slot, *texts) for slot, texts in rows])

    def put_vectors(self, rows: Numbers, *, code: int, first: int) -> None:
        """Put *rows* into the slots from *first* on, of a file that no reader looks into that far."""
        if code not in self._touched:
            self._touched[code] = VectorFile(vector_file(self._folder, code=code), length=rows.shape[1])
        self._touched[code].write(rows, first=first)

    def forget(self, slots: Sequence[int]) -> None:
        """Take documents out."""
        gone = [(slot,) for slot in slots]
        self.run("DELETE FROM words WHERE rowid = ?", gone)
        self.run("DELETE FROM facts WHERE slot = ?", gone)
        self.run("DELETE FROM documents WHERE slot = ?", gone)

    def settle(self) -> None:
        """Return when all vectors are on the disk."""
        for file in self._touched.values():
            file.settle()


def _expression(word: str) -> str:
    """An FTS5 expression: *word* as a phrase, in which nothing is an operator, anywhere, or a whole identifier."""
    quoted = '"' + word.replace('"', " ").replace("\0", " ") + '"'
    return f'({quoted} OR whole : "{token(word)}")'


def _numbers(joined: str | None) -> Slots:
    return np.fromstring(joined, dtype=np.int64, sep=",") if joined else np.empty(0, dtype=np.int64)


def _key(fact: tuple[int, Stored, int]) -> tuple[int, int, Stored, int]:
    """Sorts facts as SQLite does: numbers, then texts, then bytes."""
    code, value, slot = fact
    return code, 2 if isinstance(value, bytes) else 1 if isinstance(value, str) else 0, value, slot
