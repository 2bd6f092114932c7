"""The SQLite index keeps the contract of every search index."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.search.base import SearchIndex
from limner.search.connect import connect_search
from limner.testing.search_contract import SearchContract


class TestSqliteSearch(SearchContract):
    """All of the contract, over a folder."""

    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[SearchIndex]:
        """An index in an empty folder."""
        index = connect_search(f"sqlite:{tmp_path}", name="catalogue.images")
        yield index
        index.close()
