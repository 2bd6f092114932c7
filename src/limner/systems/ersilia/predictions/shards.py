"""Predictions as CSV: one file for each batch of a job, and the rows that were set aside."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from limner.domain.failures import FailureCode
from limner.systems.ersilia.columns import Column
from limner.systems.ersilia.nouns import Failed, Prediction

#: The columns before those of the model.
KEY, INPUT = "key", "input"
#: The header of the file of rows that were set aside.
ASIDE = ("row", "key", "input", "code", "reason", "message")


def shard_path(model: str, job: str, number: int) -> str:
    """Where the batch with *number*, counted from 0, lies."""
    return f"out/{model}/{job}_{number + 1:04}.csv"


def aside_path(job: str) -> str:
    """Where the rows that were set aside lie."""
    return f"set_aside/{job}.csv"


class ShardFile:
    """Writes ``key,input,<column>…``; a float reads back bit for bit, and no value is an empty cell."""

    def __init__(self, path: Path, *, columns: Sequence[Column]) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow((KEY, INPUT, *(column.name for column in columns)))

    def write(self, predictions: Iterable[Prediction]) -> None:
        """Append rows."""
        self._rows.writerows((one.key, one.smiles, *(one.values or ())) for one in predictions)

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


def aside_lines(rows: Iterable[tuple[int, str, str, Failed]]) -> bytes:
    """Lines for rows that were set aside: row number, key, SMILES and why."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(
        (row, key, smiles, failed.code.value, failed.reason, failed.message) for row, key, smiles, failed in rows
    )
    return lines.getvalue().encode()


def told_aside(lines: bytes) -> list[tuple[int, str, str, Failed]]:
    """What was given to :func:`aside_lines`."""
    rows = csv.reader(io.StringIO(lines.decode(), newline=""))
    return [
        (int(row), key, smiles, Failed(code=FailureCode(code), reason=reason, message=message))
        for row, key, smiles, code, reason, message in rows
    ]


def aside_header() -> bytes:
    """The first line of the file of rows that were set aside."""
    return (",".join(ASIDE) + "\n").encode()
