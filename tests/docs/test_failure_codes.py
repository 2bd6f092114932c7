"""Every failure code is explained."""

import re

import pytest

from limner.domain.failures import FailureCode
from limner.domain.retry import default_attempts
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


def test_tries_are_told() -> None:
    """The number of tries that docs/failures.md gives for a code is the one of the default table."""
    # given
    rows = re.findall(r"^\| `([A-Z_]+)` \|[^|]+\| (\d+) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)

    # when
    told = {FailureCode(code): int(tries) for code, tries in rows}

    # then
    attempts = default_attempts()
    assert set(attempts) <= set(told)
    assert told == {code: attempts.get(code, 1) for code in told}
