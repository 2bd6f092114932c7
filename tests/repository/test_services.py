"""A service that is not there skips on a laptop and fails in CI."""

import pytest

from tests.conftest import address_of_service


def test_running_service() -> None:
    """The address of a service is what its environment variable holds."""
    # given
    environ = {"LIMNER_TEST_POSTGRESQL": "postgresql://127.0.0.1:5444/limner"}

    # when
    address = address_of_service("postgresql", environ=environ, in_ci=True)

    # then
    assert address == "postgresql://127.0.0.1:5444/limner"


def test_missing_service_on_a_laptop() -> None:
    """A missing service skips only the tests that ask for it."""
    with pytest.raises(pytest.skip.Exception, match="LIMNER_TEST_KAFKA"):
        address_of_service("kafka", environ={}, in_ci=False)


def test_missing_service_in_ci() -> None:
    """A missing service is a failure in CI."""
    with pytest.raises(pytest.fail.Exception, match="LIMNER_TEST_KAFKA"):
        address_of_service("kafka", environ={}, in_ci=True)
