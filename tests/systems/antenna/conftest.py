"""What the antenna's tests share: small made nights on a picture server, and a project at work."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from limner.settings import load_project
from limner.systems.antenna.trap_pictures import TrapFrame, night
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import Trap, new_project

SMALL = (960, 540)


@pytest.fixture(scope="session")
def small_night() -> list[TrapFrame]:
    """Three frames of one night, small and quick to look at."""
    return list(night(seed=31, frames=3, things=6, size=SMALL))


@pytest.fixture
def pictures(small_night: list[TrapFrame]) -> Iterator[PictureServer]:
    """The frames under their names, and an empty board as ``empty.jpg``."""
    (board,) = night(seed=32, frames=1, things=0, size=SMALL, furniture=False)
    with PictureServer({**{frame.name: frame.jpeg() for frame in small_night}, "empty.jpg": board.jpeg()}) as server:
        yield server


@pytest.fixture(scope="session")
def shared_trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    """One project at work for all tests that neither edit nor count it; each looks at pictures of its own."""
    folder = new_project(tmp_path_factory.mktemp("shared") / "trap")
    settings = {"allow_hosts": ["127.0.0.1"], "facades": [], "parallel": 1}
    with LocalServer(load_project(folder, environment={}, options=settings)) as server:
        yield Trap(server)


@pytest.fixture
def trap_folder(tmp_path: Path) -> Path:
    """A new project, not started yet, so that a test can edit it."""
    return new_project(tmp_path / "trap")


@pytest.fixture
def trap(trap_folder: Path) -> Iterator[Callable[..., Trap]]:
    """Call with settings to have the project at work; the routes of the older clients are mounted if it is asked."""
    with ExitStack() as stack:

        def start(**options: object) -> Trap:
            settings = {"allow_hosts": ["127.0.0.1"], "facades": [], "parallel": 1, **options}
            project = load_project(trap_folder, environment={}, options=settings)
            return Trap(stack.enter_context(LocalServer(project)))

        yield start
