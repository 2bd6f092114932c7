"""Every failure code is explained."""

import re

import pytest

from limner.domain.failures import FailureCode
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "failures.md"


@pytest.mark.parametrize("code", list(FailureCode))
def test_code_is_explained(code: FailureCode) -> None:
    """A failure code that a user may meet stands in docs/failures.md."""
    assert f"`{code.value}`" in PAGE.read_text(encoding="utf-8")


def test_no_code_is_invented() -> None:
    """Every code that docs/failures.md explains is one that Limner may give."""
    # given
    explained = re.findall(r"^\|? *`([A-Z]+(?:_[A-Z]+)*)`", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)

    # then
    assert explained
    assert set(explained) <= {code.value for code in FailureCode}
