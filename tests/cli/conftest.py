"""What every test of the command line starts from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.cases import limner, write_project
from tests.conftest import shorten_log_lines


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings of the machine reach a command, and its log configuration ends with the test."""
    monkeypatch.setenv("COLUMNS", "200")
    yield
    shorten_log_lines()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in which nothing was run."""
    return write_project(tmp_path / "project")


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was run, with one record that failed; for tests that only look."""
    folder = write_project(tmp_path_factory.mktemp("worked"))
    (folder / "broken").write_text("two", encoding="utf-8")
    assert limner("run", "words", folder / "words.jsonl", project=folder).status == 1
    return folder
