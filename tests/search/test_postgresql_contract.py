"""The PostgreSQL index keeps the contract of every search index."""

from collections.abc import Callable, Iterator

import pytest

from limner.search.base import SearchIndex
from limner.search.connect import connect_search
from limner.testing.search_contract import SearchContract
from tests.search.databases import index_url


class TestPostgresqlSearch(SearchContract):
    """All of the contract, over a schema."""

    @pytest.fixture
    def index(self, require_service: Callable[[str], str]) -> Iterator[SearchIndex]:
        """An index in a schema that does not exist yet."""
        with index_url(require_service("postgresql")) as url:
            index = connect_search(url, name="catalogue.images")
            yield index
            index.close()
