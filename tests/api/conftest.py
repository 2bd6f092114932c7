"""One server for all tests that only ask, and the project that a test serves by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.served import Served, serving, write_project


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without any token over the project of the tests."""
    with serving(write_project(tmp_path_factory.mktemp("served"))) as up:
        yield up


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that nobody serves yet."""
    return write_project(tmp_path / "project")
