"""How many bytes each table and each index of a store takes, and how much processor its database has used."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from limner.store.store import Store

_NANOSECONDS = 1e9


def bytes_by_name(store: Store) -> dict[str, int]:
    """
    Bytes of each table and index that has more than a page, on SQLite free pages among them.

    On PostgreSQL a table's long values, which stand in a table of their own there, are counted with it.
    """
    with store.reading() as tx:
        if tx.connection.dialect.name == "sqlite":
            rows = tx.connection.exec_driver_sql("SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE").all()
            free = tx.connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
            size = tx.connection.exec_driver_sql("PRAGMA page_size").scalar_one()
            found = {**{row[0]: int(row[1]) for row in rows}, "free": int(free) * int(size)}
        else:
            found = _on_postgresql(tx.connection.exec_driver_sql)
    return {name: size for name, size in sorted(found.items(), key=lambda item: -item[1]) if size > 8_192}


def _on_postgresql(execute: Callable[[str], Any]) -> dict[str, int]:
    tables = execute(
        "SELECT relname, pg_table_size(c.oid) FROM pg_class c"
        " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    ).all()
    indexes = execute(
        "SELECT relname, pg_relation_size(c.oid) FROM pg_class c"
        " WHERE relkind = 'i' AND relnamespace = current_schema()::regnamespace"
    ).all()
    return {row[0]: int(row[1]) for row in [*tables, *indexes]}


def table_of(name: str) -> str:
    """The table that a table or an index of this *name* belongs to."""
    plain = name.removeprefix("sqlite_autoindex_")
    known = ("records", "results", "tasks", "ledger", "journal")
    return next((table for table in known if plain.startswith(table)), "other")


def processor_of(postmaster: int) -> Callable[[], float]:
    """
    What tells the seconds of processor that the processes of a PostgreSQL server have used.

    Those that clean up are left out: they begin when they like.
    """

    def used() -> float:
        total = 0
        for place in Path("/proc").iterdir():
            if place.name.isdigit() and _parent(place) == postmaster:
                total += _running(place)
        return total / _NANOSECONDS

    return used


def _parent(place: Path) -> int:
    try:
        return int((place / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _running(place: Path) -> int:
    """Nanoseconds that a process has run; 0 where it has just ended."""
    try:
        if b"autovacuum" in (place / "cmdline").read_bytes():
            return 0
        return int((place / "schedstat").read_text().split()[0])
    except OSError:
        return 0


def load() -> float:
    """How many processes want to run at the moment, on average over a minute."""
    return os.getloadavg()[0]


def total(sizes: Mapping[str, int], *tables: str) -> int:
    """Bytes of some tables with their indexes."""
    return sum(size for name, size in sizes.items() if table_of(name) in tables)
