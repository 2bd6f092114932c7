"""Fixtures of the tests of the worker."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limner.addresses import AddressGuard
from limner.clock import MovedClock
from limner.testing.picture_server import PictureServer
from limner.worker.cache import FileCache, keep_for
from limner.worker.fetch import Fetcher
from tests.worker.fetching import PICTURE
from tests.worker.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A rig that is closed after the test."""
    made = Rig(tmp_path)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[PictureServer]:
    """A server with twenty pictures."""
    with PictureServer({f"{number}.jpg": PICTURE + bytes([number]) for number in range(20)}) as serving:
        yield serving


@pytest.fixture
def clock() -> MovedClock:
    """A clock that stands still."""
    return MovedClock()


@pytest.fixture
def make(tmp_path: Path, server: PictureServer, clock: MovedClock) -> Iterator[Callable[..., Fetcher]]:
    """Makes fetchers over one cache folder, which are closed after the test."""
    made: list[Fetcher] = []

    def fetcher(*, keep: str = "done", max_bytes: int = 1_000_000, **options: object) -> Fetcher:
        guard = AddressGuard(allow_hosts=[server.host], file_roots=[tmp_path / "pictures"])
        cache = FileCache(tmp_path / "cache", clock=clock, keep=keep_for(keep), max_bytes=max_bytes)
        made.append(Fetcher(cache, guard=guard, clock=clock, **options))  # type: ignore[arg-type]  # the test's own
        return made[-1]

    (tmp_path / "pictures").mkdir()
    yield fetcher
    for one in made:
        one.close()
