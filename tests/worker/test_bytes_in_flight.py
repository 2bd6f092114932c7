"""What is fetched ahead waits while the tasks in hand hold enough bytes, and no inferrer waits for ever."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from limner.domain.reads import FileRead
from limner.domain.tasks import Answer, FileRef, LocalFile, Status, Task, encode_message
from limner.testing.picture_server import PictureServer
from limner.worker.cache import Hold
from limner.worker.fetch import Fetcher
from limner.worker.room import Room, Space
from tests.waiting import until
from tests.worker.cases import runtime, task
from tests.worker.rig import Rig

SIZE = 10_000
READ = FileRead(max_bytes=SIZE)


def begin(fetcher: Fetcher, server: PictureServer, numbers: range, *, hold: Hold) -> list[Future[LocalFile]]:
    """Have these pictures fetched ahead."""
    return [fetcher.begin(FileRef(url=server.url(f"{number}.jpg")), READ, hold=hold, ahead=True) for number in numbers]


def done(futures: list[Future[LocalFile]]) -> int:
    """How many of the files are here."""
    return sum(future.done() for future in futures)


@pytest.fixture
def server() -> Iterator[PictureServer]:
    """A server with forty pictures of 10 kB, and one of 90."""
    pictures = {f"{number}.jpg": bytes([number]) * SIZE for number in range(40)} | {"large.jpg": bytes(9 * SIZE)}
    with PictureServer(pictures) as serving:
        yield serving


def test_a_further_task_waits_for_room(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """With room for five pictures, five are asked for; each that is let go of makes room for the next."""
    # given a task with three pictures, and one with ten
    fetcher = make(max_bytes_in_flight=5 * SIZE)
    first, second = fetcher.hold(), fetcher.hold()
    futures = begin(fetcher, server, range(3), hold=first)
    parts = [second.part() for _ in range(10)]
    for number, part in enumerate(parts, start=3):
        futures += begin(fetcher, server, range(number, number + 1), hold=part)

    # when the files are here for which there is room, then no other was asked for
    until(lambda: done(futures) == 5)
    assert server.total() == 5
    assert fetcher.room.used == 5 * SIZE

    # when the first task is done, then three more come, in order
    first.close()
    until(lambda: done(futures) == 8)
    assert [future.done() for future in futures] == [True] * 8 + [False] * 5

    # when the second is given up, then nothing is held and nothing more is asked for
    second.close()
    until(lambda: done(futures) == 13)
    assert server.total() == 8
    assert fetcher.room.used == 0
    assert fetcher.room.highest <= 5 * SIZE


def test_a_file_larger_than_the_limit_is_let_through_alone(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """It comes when nothing else is held, and what is behind it waits for it."""
    fetcher = make(max_bytes_in_flight=2 * SIZE)
    holds = [fetcher.hold() for _ in range(3)]
    [small] = begin(fetcher, server, range(1), hold=holds[0])
    small.result()
    large = fetcher.begin(FileRef(url=server.url("large.jpg")), FileRead(max_bytes=9 * SIZE), hold=holds[1], ahead=True)
    # A guess at its size is what came from the host before, so it is asked for, and counted as it is.
    assert Path(large.result().path).stat().st_size == 9 * SIZE
    assert fetcher.room.used == 10 * SIZE

    [behind] = begin(fetcher, server, range(1, 2), hold=holds[2])
    assert not behind.done()
    holds[0].close()
    assert not behind.done()
    holds[1].close()

    assert Path(behind.result().path).exists()
    assert server.total() == 3


def test_who_waits_for_a_file_gets_it(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """A fetch that is not ahead is never held up, nor is one that comes to be waited for while nobody works."""
    fetcher = make(max_bytes_in_flight=SIZE)
    hold, other, late = fetcher.hold(), fetcher.hold(), fetcher.hold()
    begin(fetcher, server, range(1), hold=hold)[0].result()

    assert Path(fetcher.fetch(FileRef(url=server.url("1.jpg")), READ, hold=other).path).exists()
    [future] = begin(fetcher, server, range(2, 3), hold=late)
    assert not future.done()
    fetcher.hurry([late])

    assert Path(future.result().path).exists()


def spaces(room: Room, names: str) -> tuple[dict[str, Space], list[str]]:
    """Spaces for one byte each, by name, asked for in order; and the names of those that were begun."""
    begun: list[str] = []
    found = {name: Space(partial(begun.append, name), wanted=lambda: True, guess=lambda: 1) for name in names}
    for space in found.values():
        room.ask(space)
    return found, begun


def test_what_is_waited_for_does_not_overtake_the_limit_while_others_work() -> None:
    """It is first in line, and is let through over the limit only when no batch is at work that will make room."""
    # given room for two, which a batch at work holds, and three that wait
    room = Room(2)
    found, begun = spaces(room, "abcde")
    for name in ("a", "b"):
        room.fill(found[name], size=1, holders=1)
    room.work()
    assert begun == ["a", "b"]

    # when the last is waited for, then it waits for the batch; when that lets go of one, it is before the others
    room.hurry([found["e"]])
    assert begun == ["a", "b"]
    room.leave(found["a"])
    assert begun == ["a", "b", "e"]
    room.fill(found["e"], size=1, holders=1)

    # when another is waited for and the batch ends, then it is let through, and the last one still waits
    room.hurry([found["d"]])
    assert begun == ["a", "b", "e"]
    room.rest()
    assert begun == ["a", "b", "e", "d"]
    assert (room.used, room.highest) == (3, 3)


def pictures(rig: Rig, address: str, names: list[str], *, number: int, batch: int) -> Task:
    """A task that reads a picture for each record, on a topic of its own."""
    stage = runtime(address, batch=batch, reads={"picture": READ})
    refs = [encode_message(FileRef(url=rig.server.url(name))) for name in names]
    return task(stage, [], columns={"picture": refs}, number=number)


@pytest.mark.parametrize("limit", [12 * SIZE, 3 * SIZE])
def test_tasks_larger_than_the_room_are_done(tmp_path: Path, limit: int) -> None:
    """Two stages whose tasks hold many times what they may are done; with room for their batches the limit is kept."""
    # given two topics, and for each two tasks of forty pictures, in batches of four
    files = {f"{number}.jpg": number.to_bytes(2, "big") * (SIZE // 2) for number in range(160)}
    rig = Rig(tmp_path, pictures=files, max_bytes_in_flight=limit)
    names = list(files)
    tasks = [
        pictures(rig, ("size", "width")[number % 2], names[40 * number : 40 * number + 40], number=number, batch=4)
        for number in range(4)
    ]
    try:
        rig.worker(*{one.runtime.address for one in tasks})

        # when
        rig.send(*tasks)
        ends: set[int] = set()
        while len(ends) < 4:
            heard = rig.hear(lambda message: isinstance(message, Answer) and message.last)
            ends |= {message.task for message in heard if isinstance(message, Answer) and message.last}

        # then
        found = [o for message in rig.heard if isinstance(message, Answer) for o in message.outcomes]
        assert [outcome.status for outcome in found] == [Status.DONE] * 160
        assert rig.server.total() == 160
        until(lambda: rig.fetcher.room.used == 0)
        # What is waited for while nobody works may come on top: a batch of four of each topic at most.
        assert rig.fetcher.room.highest <= limit + 8 * SIZE
    finally:
        rig.close()
