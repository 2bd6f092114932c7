"""One server for all rows that only ask, its pictures and its listener; and what a row needs that has its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from limner.systems.antenna.trap_files import write_broken_files, write_odd_files
from limner.systems.antenna.trap_pictures import TrapFrame, night
from limner.testing.listener import CallbackListener
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.door import TOKEN, Door, door_over, served_as_files
from tests.systems.antenna.trap import new_project


@pytest.fixture(scope="session")
def all_pictures(small_night: list[TrapFrame], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PictureServer]:
    """A night, an empty board, broken and odd files."""
    folder = tmp_path_factory.mktemp("odd")
    odd = [one.path for one in (*write_odd_files(folder / "odd"), *write_broken_files(folder / "broken"))]
    (board,) = night(seed=32, frames=1, things=0, size=(480, 320), furniture=False)
    files = {path.name: path.read_bytes() for path in odd}
    with PictureServer({**served_as_files(small_night), **files, "empty.jpg": board.jpeg()}) as server:
        yield server


@pytest.fixture(scope="session")
def hearing() -> Iterator[CallbackListener]:
    """A listener that checks token and signature."""
    with CallbackListener(token=TOKEN) as listener:
        yield listener


@pytest.fixture(scope="session")
def door(
    tmp_path_factory: pytest.TempPathFactory, all_pictures: PictureServer, hearing: CallbackListener
) -> Iterator[Door]:
    """A server without tokens; each test asks in the name of a project of its own."""
    folder = new_project(tmp_path_factory.mktemp("door") / "trap")
    with door_over(folder, all_pictures, hearing) as made:
        yield made


@pytest.fixture
def own_listener() -> Iterator[CallbackListener]:
    """A listener that a test may take down."""
    with CallbackListener(token=TOKEN) as listener:
        yield listener


@pytest.fixture
def own_door(
    trap_folder: Path, all_pictures: PictureServer, own_listener: CallbackListener
) -> Iterator[Callable[..., Door]]:
    """Call with settings, a clock or without workers to have a server of one's own."""
    with ExitStack() as stack:

        def start(**options: object) -> Door:
            return stack.enter_context(door_over(trap_folder, all_pictures, own_listener, **options))  # type: ignore[arg-type]  # clock, own_workers and settings alike

        yield start
