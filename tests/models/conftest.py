"""A registry over a real store and a real folder of artifacts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.artifacts.folder import FolderArtifacts
from limner.clock import MovedClock
from limner.models.registry import Registry
from limner.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    made = Store(f"sqlite:///{tmp_path / 'store.db'}")
    yield made
    made.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> FolderArtifacts:
    """An empty folder of artifacts."""
    return FolderArtifacts(tmp_path / "artifacts")


@pytest.fixture
def clock() -> MovedClock:
    """A clock that stands still."""
    return MovedClock()


@pytest.fixture
def registry(store: Store, artifacts: FolderArtifacts, clock: MovedClock) -> Registry:
    """A registry without models."""
    return Registry(store, artifacts, clock)
