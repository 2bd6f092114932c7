"""The broker of events, with an exchange of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.events.listening import Listener
from tests.events.project import Words


@pytest.fixture
def url(require_service: Callable[[str], str]) -> str:
    """The broker, and an exchange that nobody else uses."""
    return f"{require_service('rabbitmq')}?exchange=test-{uuid4().hex[:12]}"


@pytest.fixture
def listener(url: str) -> Iterator[Listener]:
    """Somebody who subscribed to everything."""
    with Listener(url) as made:
        yield made


@pytest.fixture
def words(tmp_path: Path, url: str) -> Iterator[Words]:
    """A project whose changes are told."""
    made = Words(tmp_path / "words", events=url)
    yield made
    made.app.close()
