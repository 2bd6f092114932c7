"""Decision records: each has its five headings and its line in the index."""

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "docs" / "decisions"
RECORDS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_record_is_whole(record: Path) -> None:
    """A decision says its status, context, what was decided, what was refused, and the consequences."""
    headings = re.findall(r"^## (.+)$", record.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings == ["Status", "Context", "Decision", "Refused", "Consequences"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_record_is_in_the_index(record: Path) -> None:
    """A decision can be found from the index."""
    assert f"]({record.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")
