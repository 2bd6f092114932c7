"""From what a user names to a sink; the only file that knows the kinds."""

from pathlib import Path

from limner.domain.records import Shape
from limner.errors import UsageError
from limner.sinks.base import Sink

#: Endings that are written; those of JSON Lines may have ``.gz`` behind.
ENDINGS = (".csv", ".jsonl", ".ndjson", ".parquet")


def connect_sink(to: str | Path, *, shape: Shape | None = None, formulas: bool = False) -> Sink:
    """
    The sink that *to* names by its ending.

    *shape* writes a system's own JSON objects, *formulas* leaves text alone that a spreadsheet takes for a formula.

    Raises:
        UsageError: nothing writes there, or the options do not fit; the text names what is known.
    """
    path = Path(to)
    if "://" in str(to):
        raise UsageError(f"Nothing exports to {to}; known are files: {', '.join(ENDINGS)}.")
    packed = path.suffix == ".gz"
    ending = (path.with_suffix("") if packed else path).suffix.lower()
    lines = ending in (".jsonl", ".ndjson")
    if ending not in ENDINGS or (packed and not lines):
        raise UsageError(f"{to} has no ending that says how to write it; known are: {', '.join(ENDINGS)}.")
    if shape is not None and not lines:
        raise UsageError(f"--shape writes JSON Lines (.jsonl, .ndjson), not {to}.")
    if lines:
        from limner.sinks.jsonl import JsonLines

        return JsonLines(path, writer=shape.write if shape else None)
    if ending == ".csv":
        from limner.sinks.csv import CsvFile

        return CsvFile(path, formulas=formulas)
    from limner.sinks.parquet import ParquetFile

    return ParquetFile(path)
