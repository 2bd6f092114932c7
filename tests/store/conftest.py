"""A store for each test, in memory or in a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.store.connect import connect_store
from limner.store.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty store in memory."""
    made = connect_store("sqlite://")
    yield made
    made.close()


@pytest.fixture
def store_file(tmp_path: Path) -> str:
    """The URL of a store in a file."""
    return f"sqlite:///{tmp_path}/limner.db"
