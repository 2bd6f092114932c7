"""The tables of a generation in PostgreSQL: words as tsvectors, vectors as blocks of rows."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from psycopg import Connection
from psycopg.rows import TupleRow

from limner.search.conditions import Predicate, Stored
from limner.search.lexemes import Lexer, phrase, quoted, tsvector, whole
from limner.search.postgresql_layout import START
from limner.search.sortable import FIRST_WORD, decoded, doubles, encoded
from limner.search.tables import WritableTables
from limner.search.vectors import Numbers, Scores, Slots

_TABLE = re.compile(r"@(?=[a-z])")
#: What the beginning of a value keeps where the value keeps a sign.
_LOOSE = {"=": "=", "<": "<=", "<=": "<=", ">": ">=", ">=": ">="}
#: BM25's numbers, as FTS5 has them.
_K1, _B, _LEAST_IDF = 1.2, 0.75, 1e-6
#: Between which ranks a lexeme occurs once, twice … up to the 256 times that PostgreSQL notes.
_SQUARES = np.cumsum(1 / np.arange(1, 258) ** 2.0) / (math.pi**2 / 6)
_RANKS = (_SQUARES[:-1] + _SQUARES[1:]) / 2


class PostgresqlTables(WritableTables):
    """The tables whose names begin with *before*, over *connection*, which is inside a transaction."""

    def __init__(self, connection: Connection[TupleRow], *, before: str, lexer: Lexer) -> None:
        self._connection = connection
        self._before = before
        self._lexer = lexer

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that *sql* selects, in the server's own bytes."""
        return self._connection.execute(self._own(sql), values or None, binary=True).fetchall()

    def slots(self, sql: str, values: Sequence[object] = ()) -> Slots:
        """What *sql* selects as ``slot``, joined by the server."""
        [(joined,)] = self.rows(f"SELECT string_agg(slot::text, ',') FROM ({sql}) AS found", values)
        return _numbers(joined)

    def among(self, column: str, items: Sequence[str] | Sequence[int]) -> tuple[str, object]:
        """SQL that holds where *column* is one of *items*, and its value."""
        return f"{column} = ANY(?)", list(items)

    def keeping(self, code: int, predicate: Predicate) -> Slots:
        """The slots with a value that keeps *predicate*, found by the beginnings of values, which are indexed."""
        tests, values = ["SELECT slot FROM @facts WHERE code = ?"], [code]
        compared: list[tuple[str, str, object, object]] = [
            (_LOOSE[sign], sign, encoded(value)[:START], encoded(value)) for sign, value in predicate.tests
        ]
        sql = "substr(value, 1, {}) {} ? AND value {} ?"
        if predicate.one_of is not None:
            each = [encoded(value) for value in predicate.one_of]
            compared = [("=", "=", [value[:START] for value in each], each)]
            sql = "substr(value, 1, {}) {} ANY(?) AND value {} ANY(?)"
        held: list[object] = list(values)
        for loose, sign, start, value in compared:
            tests.append(sql.format(START, loose, sign))
            held += [start, value]
        return self.slots(" AND ".join(tests), held)

    def numbers(self, code: int) -> tuple[Scores, Slots]:
        """The numbers at the path with *code*, rising, with their slots."""
        numbers = f"FROM @facts WHERE code = ? AND substr(value, 1, {START}) < ? ORDER BY value, slot"
        asked = (code, FIRST_WORD)
        [(joined,)] = self.rows(f"SELECT string_agg(value, ''::bytea) FROM (SELECT value {numbers}) AS found", asked)
        return doubles(joined or b""), self.slots(f"SELECT slot {numbers}", asked)

    def values(self, code: int) -> tuple[list[Stored], list[int], Slots]:
        """The values at the path with *code* in their order, how many slots have each, and those slots in a row."""
        sql = (
            "SELECT value, string_agg(slot::text, ','), count(*) FROM @facts WHERE code = ?"
            " GROUP BY value ORDER BY value"
        )
        rows = self.rows(sql, (code,))
        return [decoded(row[0]) for row in rows], [row[2] for row in rows], _numbers(",".join(row[1] for row in rows))

    def holding(self, words: Sequence[str]) -> Slots:
        """The slots of the documents that hold all of *words*, each in any of their texts."""
        cut = self._lexer.cut_words(words)
        queries = [
            " | ".join(phrase(part) for part in (lexemes, [whole(word)]) if part)
            for lexemes, word in zip(cut, words, strict=True)
        ]
        found = " INTERSECT ".join(["SELECT slot FROM @words WHERE vector @@ ?::tsquery"] * len(queries))
        return self.slots(f"SELECT DISTINCT slot FROM ({found}) AS held", queries)

    def scores(self, words: Sequence[str], *, weights: Sequence[float]) -> tuple[Slots, Scores]:
        """The slots that hold any of *words*, and BM25 as FTS5 has it."""
        [(documents, total)] = self.rows("SELECT documents, words FROM @measures")
        usual = total / documents if total else 1.0
        every = np.array([*weights, 1.0])
        slots: list[Slots] = [np.empty(0, dtype=np.int64)]
        scores: list[Scores] = [np.empty(0)]
        for part in (*self._lexer.cut_words(words), *([whole(word)] for word in words)):
            found, fields, lengths, often = self._occurrences(part)
            distinct, places = np.unique(found, return_inverse=True)
            weighed = np.bincount(places, weights=every[fields] * often, minlength=len(distinct))
            length = np.zeros(len(distinct))
            length[places] = lengths
            rarity = max(_LEAST_IDF, math.log((documents - len(distinct) + 0.5) / (len(distinct) + 0.5)))
            slots.append(distinct)
            scores.append(rarity * weighed * (_K1 + 1) / (weighed + _K1 * (1 - _B + _B * length / usual)))
        distinct, places = np.unique(np.concatenate(slots), return_inverse=True)
        summed = np.bincount(places, weights=np.concatenate(scores), minlength=len(distinct))
        return distinct, summed.astype(np.float64)

    def _occurrences(self, lexemes: Sequence[str]) -> tuple[Slots, Slots, Scores, Scores]:
        """Where *lexemes* stand one after another: slots, columns, words of the document, and how often."""
        if not lexemes:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)
        ranks = ", ".join(["ts_rank('{1,1,1,1}', vector, ?::tsquery)"] * len(lexemes))
        rows = self.rows(
            f"SELECT slot, field, length, {ranks} FROM @words WHERE vector @@ ?::tsquery",
            [*(quoted(lexeme) for lexeme in lexemes), phrase(lexemes)],
        )
        found = np.array(rows, dtype=np.float64).reshape(-1, 3 + len(lexemes))
        # The rank of one lexeme is the sum of 1/n² over its occurrences, in parts of that over endlessly many: so it
        # tells how many they are. Of several lexemes the rarest bounds how often they stand together.
        often = np.searchsorted(_RANKS, found[:, 3:].min(axis=1, initial=math.inf)) + 1.0
        # Always added up in one order, so that equal documents have equal scores in the last bit too.
        order = np.lexsort((often, found[:, 1], found[:, 0]))
        slots, fields, lengths = found[order, :3].T
        return slots.astype(np.int64), fields.astype(np.int64), lengths, often[order]

    def run(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Do *sql* once for each of *rows*."""
        with self._connection.cursor() as cursor:
            cursor.executemany(self._own(sql), rows)

    def put_documents(self, rows: Sequence[tuple[int, str, str, str, bool, bytes, bytes]]) -> None:
        """Put in rows of slot, id, digest, digest of the vectors, complete, versions, body."""
        self._copy("documents", rows)

    def put_facts(self, facts: set[tuple[int, Stored, int]]) -> None:
        """Put in facts of code, value, slot."""
        self._copy("facts", [(code, encoded(value), slot) for code, value, slot in facts])

    def put_words(self, rows: Sequence[tuple[int, Sequence[str]]]) -> None:
        """Put in lexemes; each document has a row of its last column, if only to say how many words it has."""
        if not rows:
            return
        last = len(rows[0][1]) - 1
        found, words = self._lexer.cut(rows)
        put = [(part.slot, part.column, words[part.slot], tsvector(part.positions)) for part in found]
        bare = words.keys() - {part.slot for part in found if part.column == last}
        self._copy("words", [*put, *((slot, last, words[slot], "") for slot in bare)])
        self._measure(documents=len(rows), words=sum(words.values()))

    def put_vectors(self, rows: Numbers, *, code: int, first: int) -> None:
        """Put *rows* into the slots from *first* on."""
        self.run("INSERT INTO @blocks VALUES (?, ?, ?)", [(code, first, rows.astype("<f4").tobytes())])

    def forget(self, slots: Sequence[int]) -> None:
        """Take documents out."""
        if not slots:
            return
        gone = list(slots)
        lengths = self.rows(
            "WITH gone AS (DELETE FROM @words WHERE slot = ANY(?) RETURNING slot, length)"
            " SELECT slot, max(length) FROM gone GROUP BY slot",
            (gone,),
        )
        self._measure(documents=-len(lengths), words=-sum(length for _, length in lengths))
        self.run("DELETE FROM @facts WHERE slot = ANY(?)", [(gone,)])
        self.run("DELETE FROM @documents WHERE slot = ANY(?)", [(gone,)])

    def settle(self) -> None:
        """Vectors are in the transaction."""
        return

    def _measure(self, *, documents: int, words: int) -> None:
        self.run("UPDATE @measures SET documents = documents + ?, words = words + ?", [(documents, words)])

    def _copy(self, table: str, rows: Iterable[Sequence[object]]) -> None:
        """Put *rows* into *table*, as fast as the server takes them."""
        with self._connection.cursor() as cursor, cursor.copy(self._own(f"COPY @{table} FROM STDIN")) as copy:
            for row in rows:
                copy.write_row(row)

    def _own(self, sql: str) -> bytes:
        return _TABLE.sub(self._before, sql).replace("?", "%s").encode()


def _numbers(joined: str | None) -> Slots:
    return np.fromstring(joined, dtype=np.int64, sep=",") if joined else np.empty(0, dtype=np.int64)
