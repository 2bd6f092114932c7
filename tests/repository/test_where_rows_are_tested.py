"""The pages that say where each acceptance row is tested name tests that are there."""

import re
from pathlib import Path

import pytest

SYSTEMS = Path(__file__).parents[1] / "systems"
PAGES = sorted(SYSTEMS.glob("*/README.md"))
#: A Python file or a folder, in backticks, perhaps with the name of a test in it or with options behind it.
NAMED = re.compile(r"`([\w/.-]+(?:\.py|/))(?:::\w+)?(?: [^`]*)?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_named_tests_are_there(page: Path, repository: Path) -> None:
    """Each file that a page names lies beside it, with the acceptance tests, or where its path says."""
    # when
    named = NAMED.findall(page.read_text(encoding="utf-8"))

    # then
    places = (page.parent, page.parent / "acceptance", repository)
    assert len(named) > 10
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
