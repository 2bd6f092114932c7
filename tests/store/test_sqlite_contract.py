"""SQLite keeps the contract of the store, in memory and in a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.store.connect import connect_store
from limner.store.store import Store
from limner.testing.store_contract import StoreContract


class TestSqliteStore(StoreContract):
    """All of the contract."""

    @pytest.fixture(params=["memory", "file"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
        """An empty store."""
        made = connect_store("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/limner.db")
        yield made
        made.close()
