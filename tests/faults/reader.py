"""A process that reads a store again and again, and tells of every read in which something did not add up."""

import json
import select
import sqlite3
import sys
from collections import Counter
from pathlib import Path

_FATES = ("open", "done", "failed", "skipped", "cancelled")
_COLUMNS = ", ".join(_FATES)


def look(connection: sqlite3.Connection, seen: dict[str, tuple[int, int]]) -> list[str]:
    """What is wrong in one read, all of it of one moment; *seen* is how far each job was before."""
    found: list[str] = []
    sums: dict[str, Counter[str]] = {}
    for owner, records, fates, *counts in connection.execute(
        f"SELECT owner, length(records), fates, {_COLUMNS} FROM ledger"
    ):
        if len(fates) * 8 != records or sum(counts) != len(fates):
            found.append(f"{owner}: {records} bytes of keys, {len(fates)} fates, counts {counts}")
        if counts != [fates.count(bytes([fate])) for fate in range(len(_FATES))]:
            found.append(f"{owner}: counts {counts} are not those of the fates")
        sums.setdefault(owner, Counter()).update(dict(zip(_FATES, counts, strict=True)))
    for owner, total in sums.items():
        size, ended = sum(total.values()), sum(total.values()) - total["open"]
        before = seen.get(owner, (0, 0))
        if size < before[0] or (ended < before[1] and not owner.startswith("standing:")):
            found.append(f"{owner}: {ended} of {size} ended after {before[1]} of {before[0]}")
        seen[owner] = (size, ended)
    return found + _against_results(connection, sums)


def _against_results(connection: sqlite3.Connection, sums: dict[str, Counter[str]]) -> list[str]:
    """Whether a standing pipeline's progress is just what its results say, in the same read."""
    found = []
    (live,) = connection.execute("SELECT count(*) FROM records WHERE state = 0 AND root IS NULL").fetchone()
    (nodes,) = connection.execute("SELECT count(*) FROM nodes WHERE retired = 0").fetchone()
    (whole,) = connection.execute(
        "SELECT count(*) FROM (SELECT record FROM results JOIN nodes ON nodes.pk = results.node"
        " AND nodes.active = results.version WHERE status = 1 GROUP BY record HAVING count(*) = ?)",
        (nodes,),
    ).fetchone()
    for owner, total in sums.items():
        if owner.startswith("standing:") and (sum(total.values()), total["done"]) != (live, whole):
            found.append(f"{owner}: {dict(total)}, but {live} records are live and {whole} have all their results")
    return found


def main(file: Path) -> None:
    """Read *file* until standard input is closed; print how many reads there were, and what was wrong in them."""
    seen: dict[str, tuple[int, int]] = {}
    wrong: list[str] = []
    reads = 0
    connection: sqlite3.Connection | None = None
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        if connection is None and file.is_file():
            connection = sqlite3.connect(file, timeout=60, isolation_level=None)
        if connection is None or not _ready(connection):
            continue
        connection.execute("BEGIN")
        wrong += look(connection, seen)
        connection.execute("COMMIT")
        reads += 1
    json.dump({"reads": reads, "wrong": wrong[:20], "jobs": len(seen)}, sys.stdout)


def _ready(connection: sqlite3.Connection) -> bool:
    """Whether the tables are made."""
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    return {"ledger", "records", "results", "nodes", "alembic_version"} <= names


if __name__ == "__main__":
    main(Path(sys.argv[1]))
