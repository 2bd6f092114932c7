"""Projects for libraries of molecules."""

from pathlib import Path

import pytest

from tests.systems.ersilia.calculating import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A project without anything in it."""
    return Bench(tmp_path / "project")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The file of the prediction table."""
    return tmp_path / "predictions.db"
