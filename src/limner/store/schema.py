"""The whole schema; the migrations make the same, and a test compares the two."""

from limner.store import door_tables, work_tables  # noqa: F401  a module's tables join the metadata at its import

#: Whoever must see all tables takes it from here.
metadata = work_tables.metadata
