"""The address of indexes for each backend that is to be had here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.search.databases import index_url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, require_service: Callable[[str], str]) -> Iterator[str]:
    """Where nobody else has indexes: a folder, or a schema."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path}"
        return
    with index_url(require_service("postgresql")) as made:
        yield made


@pytest.fixture
def postgresql_url(require_service: Callable[[str], str]) -> Iterator[str]:
    """A schema where nobody else has indexes."""
    with index_url(require_service("postgresql")) as made:
        yield made
