"""Everything that stands in a store, for tests that nothing changed."""

from sqlalchemy import select

from limner.store.schema import metadata
from limner.store.store import Transaction


def everything(tx: Transaction) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables, in order."""
    return {
        table.name: sorted((tuple(row) for row in tx.connection.execute(select(table))), key=repr)
        for table in metadata.sorted_tables
    }
