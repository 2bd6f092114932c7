"""What the tests of callbacks share: a receiver, and a project whose callbacks go to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.testing.listener import CallbackListener
from tests.app.calling import TOKEN, Desk


@pytest.fixture
def listener() -> Iterator[CallbackListener]:
    """A receiver that knows the token."""
    with CallbackListener(token=TOKEN) as made:
        yield made


@pytest.fixture
def desk(tmp_path: Path, listener: CallbackListener) -> Iterator[Desk]:
    """A project whose callbacks go to the receiver."""
    made = Desk(tmp_path / "project", listener)
    yield made
    made.close()
