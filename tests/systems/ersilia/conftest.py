"""Projects for libraries of molecules."""

from pathlib import Path

import pytest

from tests.systems.ersilia.calculating import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A project without anything in it."""
    return Bench(tmp_path / "project")
