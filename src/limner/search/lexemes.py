"""Words as lexemes: what FTS5's tokenizer makes of a text, so that every backend finds the same words."""

import hashlib
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence

from msgspec import Struct

from limner.search.words import token

#: How FTS5 cuts text into words and takes forms of a word for one: case, accents, English endings.
TOKENIZER = "porter unicode61 remove_diacritics 2"
#: Words of a text in one row of PostgreSQL, whose positions end at 16383 and whose rows at a megabyte.
_PART = 4_000
#: Words that a row has in common with the next one, so that a phrase is found where it crosses.
_OVERLAP = 16
#: Longer lexemes, in bytes, keep their beginning and a digest; no letter has more than four bytes.
_LONGEST = 240
_SURELY_SHORT = _LONGEST // 4


class Lexemes(Struct, frozen=True, kw_only=True):
    """Lexemes of one part of one text, with where they stand."""

    slot: int
    column: int
    positions: dict[str, list[int]]


class Lexer:
    """Cuts texts of so many *columns*; any thread may ask, one at a time."""

    def __init__(self, *, columns: int) -> None:
        self._columns = {f"t{number}": number for number in range(columns)}
        names = ", ".join(self._columns)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._connection.execute(
            f"CREATE VIRTUAL TABLE cut USING fts5({names}, content = '', tokenize = '{TOKENIZER}')"
        )
        self._connection.execute("CREATE VIRTUAL TABLE found USING fts5vocab(cut, instance)")
        self._insert = f"INSERT INTO cut (rowid, {names}) VALUES ({', '.join('?' * (columns + 1))})"

    def cut(self, rows: Sequence[tuple[int, Sequence[str]]]) -> tuple[list[Lexemes], dict[int, int]]:
        """The lexemes of *rows*, which are a slot and its texts; and by slot how many words it has."""
        parts: dict[tuple[int, int, int], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        words = dict.fromkeys((slot for slot, _ in rows), 0)
        for lexeme, slot, column, at in self._found(rows):
            words[slot] += 1
            part, within = divmod(at, _PART)
            parts[slot, column, part][lexeme].append(within + 1)
            if part and within < _OVERLAP:
                parts[slot, column, part - 1][lexeme].append(_PART + within + 1)
        found = [
            Lexemes(slot=slot, column=column, positions=positions) for (slot, column, _), positions in parts.items()
        ]
        return found, words

    def cut_words(self, words: Sequence[str]) -> list[list[str]]:
        """The lexemes of each of *words* in a row: several where it is cut, none where it is no word."""
        cut: dict[int, dict[int, str]] = defaultdict(dict)
        blank = [""] * (len(self._columns) - 1)
        for lexeme, at, _, position in self._found([(at, [word, *blank]) for at, word in enumerate(words)]):
            cut[at][position] = lexeme
        return [[lexeme for _, lexeme in sorted(cut[at].items())] for at in range(len(words))]

    def close(self) -> None:
        """Let go of the tokenizer."""
        self._connection.close()

    def _found(self, rows: Sequence[tuple[int, Sequence[str]]]) -> Iterator[tuple[str, int, int, int]]:
        """Lexeme, row, column and position of every word."""
        with self._lock:
            self._connection.executemany(self._insert, [(row, *texts) for row, texts in rows])
            try:
                found = self._connection.execute("SELECT term, doc, col, offset FROM found").fetchall()
            finally:
                self._connection.execute("INSERT INTO cut (cut) VALUES ('delete-all')")
        for term, row, column, position in found:
            yield term if len(term) <= _SURELY_SHORT else _bounded(term), row, self._columns[column], position


def tsvector(positions: dict[str, list[int]]) -> str:
    """Lexemes and where they stand, as PostgreSQL reads a tsvector."""
    return " ".join(
        f"{quoted(lexeme)}:{at[0] if len(at) == 1 else ','.join(map(str, sorted(at)))}"
        for lexeme, at in positions.items()
    )


def phrase(lexemes: Sequence[str]) -> str:
    """A tsquery of *lexemes* one after another."""
    return " <-> ".join(quoted(lexeme) for lexeme in lexemes)


def whole(word: str) -> str:
    """The lexeme of *word* as an identifier."""
    return _bounded(token(word))


def quoted(lexeme: str) -> str:
    """*lexeme* as PostgreSQL reads one, in which nothing is an operator."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def _bounded(lexeme: str) -> str:
    encoded = lexeme.encode()
    if len(encoded) <= _LONGEST:
        return lexeme
    return encoded[: _LONGEST - 40].decode(errors="ignore") + hashlib.sha1(encoded, usedforsecurity=False).hexdigest()
