"""Every setting and environment variable is documented, and none is that does nothing."""

import re
from pathlib import Path

import msgspec
import pytest

from limner.settings import Settings
from tests.conftest import REPOSITORY
from tools.pages import pages

VARIABLE = re.compile(r"\bLIMNER_[A-Z0-9]+(?:_[A-Z0-9]+)*\b")
#: Variables that only the tests read.
FOR_TESTS = "LIMNER_TEST_"


def of_settings() -> dict[str, str]:
    """Each setting and the environment variable that sets it."""
    return {setting.name: f"LIMNER_{setting.name.upper()}" for setting in msgspec.structs.fields(Settings)}


def variables_in(paths: list[Path]) -> set[str]:
    """The environment variables of Limner that these files name."""
    found = {name for path in paths for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    return {name for name in found if not name.startswith(FOR_TESTS)}


@pytest.mark.parametrize("setting", sorted(of_settings()))
def test_setting_is_documented(setting: str) -> None:
    """A setting stands in docs/settings.md by its name."""
    assert f"`{setting}`" in (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")


def test_variables_are_documented() -> None:
    """Every environment variable that Limner reads stands in docs/settings.md."""
    # given
    read = set(of_settings().values()) | variables_in(sorted((REPOSITORY / "src").rglob("*.py")))

    # when
    documented = variables_in([REPOSITORY / "docs" / "settings.md"])

    # then
    assert read - documented == set()


def test_no_variable_is_invented() -> None:
    """Every environment variable that a page names is read by Limner."""
    # given
    read = set(of_settings().values()) | variables_in(sorted((REPOSITORY / "src").rglob("*.py")))

    # when
    documented = variables_in(pages(REPOSITORY))

    # then
    assert documented - read == set()
