"""Whatever a source sends, its record ends with the right code and its neighbours are done; odd pictures are done."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from limner.domain.failures import Failure, FailureCode
from limner.domain.reads import FileRead
from limner.domain.retry import RetryPolicy
from limner.domain.tasks import FileRef, Outcome, Status, Task, encode_message
from limner.testing.picture_server import Reply
from tests.worker.cases import lines, runtime, task
from tests.worker.odd_files import bomb, damaged, noise, odd, picture
from tests.worker.rig import Rig, values

#: A read of pictures as they are stored.
STORED = FileRead(upright=False, max_bytes=1_000_000)

NOT_FOUND, FORBIDDEN = FailureCode.SOURCE_NOT_FOUND, FailureCode.SOURCE_FORBIDDEN
REFUSED, TIMEOUT = FailureCode.SOURCE_REFUSED, FailureCode.SOURCE_TIMEOUT
UNAVAILABLE, TRUNCATED = FailureCode.SOURCE_UNAVAILABLE, FailureCode.SOURCE_TRUNCATED
WRONG_TYPE, TOO_LARGE = FailureCode.SOURCE_WRONG_TYPE, FailureCode.SOURCE_TOO_LARGE

#: By name how the server misbehaves, the code that it makes, and whether it is tried again by default.
REPLIES: dict[str, tuple[Reply, FailureCode, bool]] = {
    "absent": (Reply(status=404), NOT_FOUND, False),
    "gone": (Reply(status=410), NOT_FOUND, False),
    "unknown-us": (Reply(status=401), FORBIDDEN, False),
    "forbidden": (Reply(status=403), FORBIDDEN, False),
    "led-inside": (Reply(redirect="http://10.0.0.1/x.jpg"), REFUSED, False),
    "led-to-metadata": (Reply(redirect="http://169.254.169.254/latest"), REFUSED, False),
    "led-to-disk": (Reply(redirect="file:///etc/passwd"), REFUSED, False),
    "reset": (Reply(reset=True), TIMEOUT, True),
    "silent": (Reply(delay=timedelta(seconds=60)), TIMEOUT, True),
    "dripping": (Reply(drip=timedelta(seconds=0.05)), TIMEOUT, True),
    "broken-server": (Reply(status=500), UNAVAILABLE, True),
    "busy": (Reply(status=503), UNAVAILABLE, True),
    "too-many": (Reply(status=429), UNAVAILABLE, True),
    "cut": (Reply(body="cut"), TRUNCATED, True),
    "cut-without-length": (Reply(body="half", no_length=True), TRUNCATED, True),
    "zero": (Reply(body="empty"), TRUNCATED, True),
    "zero-without-length": (Reply(body="empty", no_length=True), TRUNCATED, True),
    "html": (Reply(body="html"), WRONG_TYPE, True),
    "huge": (Reply(body="huge"), TOO_LARGE, False),
    "huge-without-length": (Reply(body="huge", no_length=True), TOO_LARGE, False),
}
#: By name the bytes that come with status 200, and the same.
FILES: dict[str, tuple[bytes, FailureCode, bool]] = {
    "jpeg-header": (noise()[:20], TRUNCATED, True),
    "png-header": (picture(format="PNG")[:33], TRUNCATED, True),
    "cut-before-the-end.jpg": (noise()[:-400], TRUNCATED, True),
    "pdf.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(500), WRONG_TYPE, True),
    "bomb.png": (bomb(), TOO_LARGE, False),
    "damaged.png": (damaged(), FailureCode.DECODE_FAILED, False),
}
ADDRESSES = {
    "private": "http://10.0.0.1/x.jpg",
    "metadata": "http://169.254.169.254/latest/meta-data",
    "disk": "file:///etc/passwd",
    "ftp": "ftp://example.org/x.jpg",
    "no-address": "picture 7",
}
EXPECTED = {
    **{name: (code, again) for name, (_, code, again) in REPLIES.items()},
    **{name: (code, again) for name, (_, code, again) in FILES.items()},
    **dict.fromkeys(ADDRESSES, (REFUSED, False)),
    "nobody-there": (TIMEOUT, True),
}


class Met:
    """What a worker made of every bad source in one task, each between two good ones."""

    def __init__(self, folder: Path) -> None:
        files = {name: body for name, (body, _, _) in FILES.items()} | {name: noise() for name in REPLIES}
        good = {f"good{number}.png": picture((30 + number, 20), format="PNG") for number in range(len(EXPECTED) + 1)}
        # Long enough for good pictures beside other tests; those that never come take all of it.
        rig = Rig(folder, pictures=files | good, fetched_within=timedelta(seconds=10))
        for name, (reply, _, _) in REPLIES.items():
            rig.server.plan(name, reply)
        addresses = ADDRESSES | {"nobody-there": f"http://127.0.0.1:{closed_port()}/x.jpg"}
        self.names: list[str] = []
        for name, neighbour in zip(EXPECTED, good, strict=False):
            self.names += [neighbour, name]
        refs = [encode_message(FileRef(url=addresses.get(name) or rig.server.url(name))) for name in self.names]
        # A decoded bomb would not fit into this memory.
        stage = runtime("pixels", batch=64, memory_mb=500, reads={"picture": STORED})
        try:
            rig.worker(stage.address)
            self.outcomes = rig.done(task(stage, [], columns={"picture": refs}))
            self.calls = lines(rig.project / "calls.txt")
        finally:
            rig.close()

    def failure(self, name: str) -> Failure | None:
        """Why the record of this source failed."""
        return self.outcomes[self.names.index(name)].failure


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Met:
    """One task for all that look at it."""
    return Met(tmp_path_factory.mktemp("sources"))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_each_bad_source_has_its_code(met: Met, name: str) -> None:
    """The code, a sentence, and by the default policy whether it is tried again."""
    code, again = EXPECTED[name]

    failure = met.failure(name)

    assert failure is not None
    assert (failure.code, RetryPolicy().allows(failure, tried=1)) == (code, again)
    assert len(failure.message) > 10


@pytest.mark.slow
def test_bad_sources_spare_their_neighbours(met: Met) -> None:
    """Every picture between two bad ones is done, in one call of the inferrer; nothing is lost."""
    good = [position for position, name in enumerate(met.names) if name.startswith("good")]

    assert {position for position, outcome in met.outcomes.items() if outcome.status is Status.DONE} == set(good)
    assert sorted(values(met.outcomes)[position][0] for position in good) == [30 + n for n in range(len(good))]
    assert len(met.calls) == 1
    assert len(met.calls[0].split()) == len(good)


def odd_pictures(rig: Rig, read: FileRead) -> Task:
    """A task of one batch that reads every odd picture."""
    refs = [encode_message(FileRef(url=rig.server.url(name))) for name in odd()]
    stage = runtime("pixels", batch=64, reads={"picture": read})
    return task(stage, [], columns={"picture": refs}, version=f"upright {read.upright}")


@pytest.fixture
def odd_rig(tmp_path: Path) -> Iterator[Rig]:
    """A rig whose server has the odd pictures."""
    files = {name: body for name, (body, _) in odd().items()}
    made = Rig(tmp_path, pictures=files, fetched_within=timedelta(seconds=30))
    yield made
    made.close()


def test_mixed_sizes_one_batch(odd_rig: Rig) -> None:
    """Odd but legal pictures of all sizes go through one call: as lists, never stacked, in stored orientation."""
    one = odd_pictures(odd_rig, STORED)
    odd_rig.worker(one.runtime.address)

    outcomes = odd_rig.done(one)

    assert by_name(outcomes) == {name: expected for name, (_, expected) in odd().items()}
    assert len(lines(odd_rig.project / "calls.txt")) == 1


def test_a_read_says_which_way_up(odd_rig: Rig) -> None:
    """The same file stands upright where the read does not ask for the stored orientation, and is another input."""
    stored, upright = odd_pictures(odd_rig, STORED), odd_pictures(odd_rig, structs.replace(STORED, upright=True))
    odd_rig.worker(stored.runtime.address)

    lying, standing = odd_rig.done(stored), odd_rig.done(structs.replace(upright, id=2))

    assert by_name(lying)["turned.png"][:2] == [60, 20]
    assert by_name(standing)["turned.png"][:2] == [20, 60]
    position = list(odd()).index("turned.png")
    assert lying[position].read_digest != standing[position].read_digest


def by_name(outcomes: dict[int, Outcome]) -> dict[str, list[int]]:
    """Width, height and first pixel of each odd picture."""
    return {list(odd())[position]: value for position, value in values(outcomes).items()}
