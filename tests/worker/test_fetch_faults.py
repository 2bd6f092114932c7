"""A file that cannot be fetched says exactly why."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from limner.domain.failures import FailureCode
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef
from limner.testing.picture_server import PictureServer, Reply
from limner.worker.fetch import Fetcher
from tests.worker.fetching import PICTURE, failure, files_in, sha256


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


def test_a_host_that_is_not_there_does_not_answer_in_time(make: Callable[..., Fetcher], server: PictureServer) -> None:
    """A closed port may open again, so it is a failure that may be tried again."""
    url = server.url("1.jpg")
    fetcher = make()
    server.__exit__(None, None, None)

    assert failure(fetcher, FileRef(url=url)).code is FailureCode.SOURCE_TIMEOUT
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
