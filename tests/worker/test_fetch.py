"""Fetching gets each file once for all who ask, and says exactly why it cannot."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from limner.addresses import AddressGuard
from limner.artifacts.folder import FolderArtifacts
from limner.clock import MovedClock
from limner.domain.failures import FailedRecord, Failure, FailureCode
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef, LocalFile
from limner.errors import ConfigurationError
from limner.testing.picture_server import PictureServer, Reply
from limner.worker.cache import FileCache, keep_for
from limner.worker.fetch import Fetcher

PICTURE = bytes(range(256)) * 40


def sha256(data: bytes) -> str:
    """The digest of *data*."""
    return hashlib.sha256(data).hexdigest()


def failure(fetcher: Fetcher, ref: FileRef, read: FileRead | None = None) -> Failure:
    """The failure that fetching ends with."""
    with fetcher.hold() as hold, pytest.raises(FailedRecord) as caught:
        fetcher.fetch(ref, read or FileRead(), hold=hold)
    return caught.value.failure


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


def files_in(folder: Path) -> list[Path]:
    """Every file under *folder*, at any depth."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_picture_is_fetched_to_a_file_with_its_ending(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """The file has the bytes, their digest and the ending of the address."""
    fetcher = make()

    with fetcher.hold() as hold:
        file = fetcher.fetch(FileRef(url=server.url("1.jpg")), FileRead(), hold=hold)

        assert Path(file.path).read_bytes() == PICTURE + b"\x01"
        assert Path(file.path).suffix == ".jpg"
        assert file.sha256 == sha256(PICTURE + b"\x01")
        assert fetcher.downloads == hold.downloads == 1


def test_three_stages_at_the_same_moment_make_one_request(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """Whoever asks while a picture is under way waits for it; later ones find it; each has it until it lets go."""
    # given a server that takes its time
    server.delay = timedelta(seconds=0.1)
    fetcher = make()
    holds = [fetcher.hold() for _ in range(3)]
    ref = FileRef(url=server.url("1.jpg"), revision="7")

    # when three ask at once, and one later
    futures = [fetcher.begin(ref, FileRead(), hold=hold) for hold in holds]
    files = [future.result() for future in futures]
    files.append(fetcher.fetch(ref, FileRead(), hold=holds[0]))

    # then there was one request, on one account, and a file for each
    assert server.requests["1.jpg"] == fetcher.downloads == sum(hold.downloads for hold in holds) == 1
    assert len({file.path for file in files}) == 4
    for hold in holds:
        hold.close()
    assert not any(Path(file.path).exists() for file in files)


def test_fresh_asks_the_source_again(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """A copy that could not be used is fetched anew, without asking whether it changed."""
    server.plan("1.jpg", Reply(body="html"), Reply())
    fetcher = make()

    with fetcher.hold() as hold:
        bad = fetcher.fetch(FileRef(url=server.url("1.jpg")), FileRead(), hold=hold)
        good = fetcher.fetch(FileRef(url=server.url("1.jpg"), fresh=True), FileRead(), hold=hold)
        again = fetcher.fetch(FileRef(url=server.url("1.jpg")), FileRead(), hold=hold)

        assert b"html" in Path(bad.path).read_bytes()
        assert good.sha256 == again.sha256 == sha256(PICTURE + b"\x01")
    assert server.requests["1.jpg"] == 2


def test_a_new_revision_asks_whether_the_bytes_changed(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """The same bytes at a new revision are no download; other bytes are; an old revision is not mixed up with them."""
    fetcher = make()
    assert isinstance(server.pictures, dict)

    def at(revision: str) -> LocalFile:
        with fetcher.hold() as hold:
            return fetcher.fetch(FileRef(url=server.url("1.jpg"), revision=revision), FileRead(), hold=hold)

    first, same = at("1"), at("2")
    assert (server.requests["1.jpg"], server.not_modified["1.jpg"], fetcher.downloads) == (2, 1, 1)
    assert first.sha256 == same.sha256
    at("1")
    assert server.requests["1.jpg"] == 2

    server.pictures["1.jpg"] = b"other"
    changed = at("3")
    assert changed.sha256 == sha256(b"other")
    assert fetcher.downloads == 2


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=404), FailureCode.SOURCE_NOT_FOUND),
        (Reply(status=410), FailureCode.SOURCE_NOT_FOUND),
        (Reply(status=400), FailureCode.SOURCE_NOT_FOUND),
        (Reply(status=401), FailureCode.SOURCE_FORBIDDEN),
        (Reply(status=403), FailureCode.SOURCE_FORBIDDEN),
        (Reply(status=429), FailureCode.SOURCE_UNAVAILABLE),
        (Reply(status=500), FailureCode.SOURCE_UNAVAILABLE),
        (Reply(status=504), FailureCode.SOURCE_UNAVAILABLE),
        (Reply(body="empty"), FailureCode.SOURCE_TRUNCATED),
        (Reply(body="cut"), FailureCode.SOURCE_TRUNCATED),
        (Reply(body="empty", no_length=True), FailureCode.SOURCE_TRUNCATED),
        (Reply(reset=True), FailureCode.SOURCE_TIMEOUT),
        (Reply(delay=timedelta(seconds=20)), FailureCode.SOURCE_TIMEOUT),
        (Reply(drip=timedelta(seconds=0.01)), FailureCode.SOURCE_TIMEOUT),
        (Reply(body="huge"), FailureCode.SOURCE_TOO_LARGE),
        (Reply(body="huge", no_length=True), FailureCode.SOURCE_TOO_LARGE),
        (Reply(redirect="http://10.0.0.1/"), FailureCode.SOURCE_REFUSED),
        (Reply(redirect="file:///etc/passwd"), FailureCode.SOURCE_REFUSED),
    ],
    ids=str,
)
def test_each_fault_has_its_code(
    make: Callable[..., Fetcher], server: PictureServer, reply: Reply, code: FailureCode, tmp_path: Path
) -> None:
    """What the source does wrong is told apart, in one request, and nothing of it stays in the cache."""
    server.plan("1.jpg", reply)
    fetcher = make(total=timedelta(seconds=0.5))

    found = failure(fetcher, FileRef(url=server.url("1.jpg")), FileRead(max_bytes=20_000_000))

    assert found.code is code
    assert server.url("1.jpg") in found.message or code is FailureCode.SOURCE_REFUSED
    assert server.requests["1.jpg"] == 1
    assert fetcher.downloads == 0
    assert files_in(tmp_path / "cache") == []


def test_a_circle_of_redirects_ends(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """Redirects are followed a few times only."""
    server.plan("1.jpg", Reply(redirect=server.url("1.jpg")))

    assert failure(make(), FileRef(url=server.url("1.jpg"))).code is FailureCode.SOURCE_NOT_FOUND
    assert server.requests["1.jpg"] < 15


def test_a_host_that_is_not_there_is_unavailable(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """A closed port may open again, so it is a failure that may be tried again."""
    url = server.url("1.jpg")
    fetcher = make()
    server.__exit__(None, None, None)

    assert failure(fetcher, FileRef(url=url)).code is FailureCode.SOURCE_UNAVAILABLE
    server.__init__({})  # type: ignore[misc]  # the fixture ends a server, so it is given a new one
    server.__enter__()


@pytest.mark.parametrize("url", ["http://169.254.169.254/x", "ftp://example.org/x", "nothing", "http://[::1/x"])
def test_an_illegal_address_is_refused(make: Callable[..., Fetcher], url: str) -> None:
    """What may not be fetched is refused without being asked for."""
    assert failure(make(), FileRef(url=url)).code is FailureCode.SOURCE_REFUSED


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("Tue, 14 Nov 2023 22:15:20 GMT", 120.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_what_the_server_asks_to_wait_is_kept(
    make: Callable[..., Fetcher], server: PictureServer, header: str | None, seconds: float | None
) -> None:
    """Retry-After is seconds or a date; the failure carries it as seconds from now."""
    server.plan("1.jpg", Reply(status=503, retry_after=header))

    assert failure(make(), FileRef(url=server.url("1.jpg"))).retry_after == seconds


def test_a_declared_checksum_is_checked(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """The right one passes, in capitals too; a wrong one fails, also on a copy at hand."""
    fetcher = make()
    right = sha256(PICTURE + b"\x01")

    with fetcher.hold() as hold:
        fetcher.fetch(FileRef(url=server.url("1.jpg"), checksum=right.upper()), FileRead(), hold=hold)

    found = failure(fetcher, FileRef(url=server.url("1.jpg"), checksum="0" * 64))
    assert found.code is FailureCode.CHECKSUM_MISMATCH
    assert right in found.message


def test_stages_with_other_limits_share_one_request(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """Who reads more bytes gets the file that is too large for another one who asked first."""
    server.delay = timedelta(seconds=0.1)
    fetcher = make()
    ref = FileRef(url=server.url("1.jpg"))

    with fetcher.hold() as hold:
        small = fetcher.begin(ref, FileRead(max_bytes=100), hold=hold)
        large = fetcher.begin(ref, FileRead(), hold=hold)

        assert Path(large.result().path).stat().st_size == len(PICTURE) + 1
        with pytest.raises(FailedRecord) as caught:
            small.result()
    assert caught.value.failure.code is FailureCode.SOURCE_TOO_LARGE
    assert server.requests["1.jpg"] == 1


def test_no_host_is_asked_too_much_at_once(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """With a limit of 3 the server never sees more than 3 requests at once, and all pictures come."""
    server.delay = timedelta(seconds=0.01)
    fetcher = make(at_once=3)

    with fetcher.hold() as hold:
        refs = [FileRef(url=server.url(f"{number}.jpg")) for number in range(20)]
        files = [future.result() for future in [fetcher.begin(ref, FileRead(), hold=hold) for ref in refs]]

    assert len({file.sha256 for file in files}) == 20
    assert server.most_at_once == 3


def test_a_rate_is_kept(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """Fifty a second means that eleven pictures take at least a fifth of a second."""
    fetcher = make(rate=50.0)
    began = time.monotonic()

    with fetcher.hold() as hold:
        refs = [FileRef(url=server.url(f"{number}.jpg")) for number in range(11)]
        for future in [fetcher.begin(ref, FileRead(), hold=hold) for ref in refs]:
            future.result()

    assert time.monotonic() - began >= 0.2


def test_what_nobody_waits_for_is_not_fetched(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """A task that is given up takes its waiting downloads with it."""
    server.delay = timedelta(seconds=0.05)
    fetcher = make(at_once=1)
    hold = fetcher.hold()

    futures = [fetcher.begin(FileRef(url=server.url(f"{n}.jpg")), FileRead(), hold=hold) for n in range(20)]
    hold.close()
    for future in futures:
        future.exception()

    assert server.total() <= 1


def test_a_resolver_makes_the_address(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """A stage may name a resolver; an unknown one, and one that fails, are failures of the record."""

    def number(url: str) -> str:
        return server.url(f"{int(url.removeprefix('picture:'))}.jpg")

    fetcher = make(resolvers={"number": number})

    with fetcher.hold() as hold:
        file = fetcher.fetch(FileRef(url="picture:4"), FileRead(resolver="number"), hold=hold)
    assert file.sha256 == sha256(PICTURE + b"\x04")
    broken = failure(fetcher, FileRef(url="picture:four"), FileRead(resolver="number"))
    unknown = failure(fetcher, FileRef(url="picture:4"), FileRead(resolver="letter"))
    assert broken.code is unknown.code is FailureCode.INPUT_INVALID
    assert "known are: number" in unknown.message


def test_a_file_is_read_in_place(make: Callable[..., Fetcher], tmp_path: Path) -> None:
    """A file on this machine is neither copied nor removed."""
    path = tmp_path / "pictures" / "a b.jpg"
    path.write_bytes(PICTURE)
    fetcher = make()

    with fetcher.hold() as hold:
        file = fetcher.fetch(FileRef(url=f"file://{tmp_path}/pictures/a%20b.jpg"), FileRead(), hold=hold)

    assert file == LocalFile(path=str(path), sha256=sha256(PICTURE))
    assert path.exists()
    assert fetcher.downloads == 0
    assert files_in(tmp_path / "cache") == []


def test_each_fault_of_a_file_has_its_code(make: Callable[..., Fetcher], tmp_path: Path) -> None:
    """Missing, empty, too large, another checksum, a folder, and one outside the roots."""
    pictures = tmp_path / "pictures"
    (pictures / "empty.jpg").touch()
    (pictures / "large.jpg").write_bytes(PICTURE)
    (tmp_path / "secret.txt").write_text("secret")
    fetcher = make()

    def code(name: str, checksum: str | None = None) -> FailureCode:
        return failure(fetcher, FileRef(url=f"{pictures}/{name}", checksum=checksum), FileRead(max_bytes=10_300)).code

    assert code("absent.jpg") is FailureCode.SOURCE_NOT_FOUND
    assert code("") is FailureCode.SOURCE_NOT_FOUND
    assert code("empty.jpg") is FailureCode.SOURCE_TRUNCATED
    assert code("large.jpg", checksum="0" * 64) is FailureCode.CHECKSUM_MISMATCH
    (pictures / "large.jpg").write_bytes(PICTURE * 2)
    assert code("large.jpg") is FailureCode.SOURCE_TOO_LARGE
    assert code("../secret.txt") is FailureCode.SOURCE_REFUSED


def test_an_artifact_is_a_file_at_hand(make: Callable[..., Fetcher], tmp_path: Path) -> None:
    """What an earlier stage wrote is read by its digest."""
    artifacts = FolderArtifacts(tmp_path / "artifacts")
    stored = artifacts.put(b"drawing")
    fetcher = make(artifacts=artifacts)

    with fetcher.hold() as hold:
        file = fetcher.fetch(FileRef(url=f"artifact:{stored}"), FileRead(), hold=hold)

    assert Path(file.path).read_bytes() == b"drawing"
    assert failure(fetcher, FileRef(url="artifact:" + "0" * 64)).code is FailureCode.SOURCE_NOT_FOUND


def fetch_all(fetcher: Fetcher, server: PictureServer, numbers: range) -> None:
    """Fetch these pictures, one after another, and let go of each."""
    for number in numbers:
        with fetcher.hold() as hold:
            fetcher.fetch(FileRef(url=server.url(f"{number}.jpg")), FileRead(), hold=hold)


def test_the_cache_is_bounded_and_drops_the_longest_unused(
    make: Callable[..., Fetcher], server: PictureServer, clock: MovedClock, tmp_path: Path
) -> None:
    """Beyond the bound the copy that was unused for longest goes, but never one in use."""
    # given room for five pictures, and a hold on the first
    fetcher = make(max_bytes=5 * len(PICTURE) + 100)
    hold = fetcher.hold()
    held = fetcher.fetch(FileRef(url=server.url("0.jpg")), FileRead(), hold=hold)

    # when five more come, and the second is used again before the last one
    for number in (1, 2, 3, 4, 1, 5):
        clock.move(timedelta(seconds=1))
        fetch_all(fetcher, server, range(number, number + 1))

    # then the held one and the one used lately are there, and the oldest is not
    assert Path(held.path).exists()
    fetch_all(fetcher, server, range(2))
    assert (server.requests["0.jpg"], server.requests["1.jpg"]) == (1, 1)
    fetch_all(fetcher, server, range(2, 3))
    assert server.requests["2.jpg"] == 2
    hold.close()
    assert sum(path.stat().st_size for path in tmp_path.rglob("bodies/*")) <= 5 * len(PICTURE) + 100


def test_done_leaves_nothing(make: Callable[..., Fetcher], server: PictureServer, tmp_path: Path) -> None:
    """With the policy `done` the cache is empty when the process ends, whether pictures came or failed."""
    server.plan("3.jpg", Reply(status=404))
    fetcher = make()
    with pytest.raises(FailedRecord):
        fetch_all(fetcher, server, range(5))

    assert files_in(tmp_path / "cache")
    fetcher.close()

    assert list((tmp_path / "cache" / "live").iterdir()) == []
    assert files_in(tmp_path / "cache") == []


def test_always_serves_the_next_process(make: Callable[..., Fetcher], server: PictureServer, tmp_path: Path) -> None:
    """With the policy `always` the next run finds the pictures of the one before."""
    first = make(keep="always")
    fetch_all(first, server, range(3))
    first.close()

    fetch_all(make(keep="always"), server, range(3))

    assert server.total() == 3


def test_days_forget_what_was_not_used(make: Callable[..., Fetcher], server: PictureServer, clock: MovedClock) -> None:
    """A copy lives for so many days after its last use."""
    fetcher = make(keep="2")
    fetch_all(fetcher, server, range(2))
    clock.move(timedelta(days=1.5))
    fetch_all(fetcher, server, range(1))
    clock.move(timedelta(days=1))

    fetch_all(fetcher, server, range(2))

    assert (server.requests["0.jpg"], server.requests["1.jpg"]) == (1, 2)


@pytest.mark.parametrize("policy", ["never", "-1", -0.5, "nan"])
def test_a_wrong_policy_is_refused(policy: str | float) -> None:
    """A policy is done, always, or a number of days."""
    with pytest.raises(ConfigurationError, match="setting keep"):
        keep_for(policy)


#: Fetches a picture, says so, and waits for ever.
_OTHER = """
import sys, time
from pathlib import Path
from limner.addresses import AddressGuard
from limner.clock import SystemClock
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef
from limner.worker.cache import FileCache
from limner.worker.fetch import Fetcher

folder, host, url = sys.argv[1:]
clock = SystemClock()
fetcher = Fetcher(FileCache(Path(folder), clock=clock), guard=AddressGuard(allow_hosts=[host]), clock=clock)
print(fetcher.fetch(FileRef(url=url), FileRead(), hold=fetcher.hold()).path, flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed(
    make: Callable[..., Fetcher], server: PictureServer, tmp_path: Path
) -> None:
    """The next start cleans up after a killed process, and leaves a living one alone."""
    command = [sys.executable, "-c", _OTHER, str(tmp_path / "cache"), server.host, server.url("1.jpg")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        held = Path(other.stdout.readline().strip())

        # when a process starts and ends beside the living one, then its file stays
        make().close()
        assert held.exists()

        # when it is killed, then the next start removes what it left
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    make().close()

    assert list((tmp_path / "cache" / "live").iterdir()) == []
    assert files_in(tmp_path / "cache") == []


def test_many_threads_share_the_cache(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """Eight threads that ask for twenty pictures in other orders make twenty requests."""
    fetcher = make()
    start = threading.Barrier(8)
    digests: list[set[str]] = []

    def ask(shift: int) -> None:
        start.wait()
        with fetcher.hold() as hold:
            refs = [FileRef(url=server.url(f"{(number + shift) % 20}.jpg")) for number in range(20)]
            found = [future.result() for future in [fetcher.begin(ref, FileRead(), hold=hold) for ref in refs]]
            digests.append({file.sha256 for file in found if Path(file.path).stat().st_size == len(PICTURE) + 1})

    threads = [threading.Thread(target=ask, args=(3 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(digests) == 8
    assert all(len(found) == 20 for found in digests)
    assert server.total() == 20
