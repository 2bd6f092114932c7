"""Fetching gets each file once for all who ask."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from limner.artifacts.folder import FolderArtifacts
from limner.domain.failures import FailedRecord, FailureCode
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef, LocalFile
from limner.testing.picture_server import PictureServer, Reply
from limner.worker.fetch import Fetcher
from tests.waiting import until
from tests.worker.fetching import PICTURE, failure, files_in, sha256


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
    # The server counts an answer when it has sent it.
    until(lambda: server.not_modified["1.jpg"] == 1)
    assert (server.requests["1.jpg"], fetcher.downloads) == (2, 1)
    assert first.sha256 == same.sha256
    at("1")
    assert server.requests["1.jpg"] == 2

    server.pictures["1.jpg"] = b"other"
    changed = at("3")
    assert changed.sha256 == sha256(b"other")
    assert fetcher.downloads == 2


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


def test_an_artifact_is_a_file_at_hand(make: Callable[..., Fetcher], tmp_path: Path) -> None:
    """What an earlier stage wrote is read by its digest."""
    artifacts = FolderArtifacts(tmp_path / "artifacts")
    stored = artifacts.put(b"drawing")
    fetcher = make(artifacts=artifacts)

    with fetcher.hold() as hold:
        file = fetcher.fetch(FileRef(url=f"artifact:{stored}"), FileRead(), hold=hold)

    assert Path(file.path).read_bytes() == b"drawing"
    assert failure(fetcher, FileRef(url="artifact:" + "0" * 64)).code is FailureCode.SOURCE_NOT_FOUND
