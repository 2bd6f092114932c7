"""The object store that tests of artifacts find."""

from collections.abc import Callable

import pytest

from tests.artifacts.stores import below
from tools.services import ObjectStore


@pytest.fixture
def s3_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of the tests' object stores, in the environment; what the machine has of its own is not seen."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ObjectStore.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3_url(require_service: Callable[[str], str], s3_keys: None) -> str:
    """An empty place in the bucket of the running object store."""
    return below(require_service("s3"))
