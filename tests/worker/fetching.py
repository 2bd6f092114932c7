"""What the tests of fetching share."""

import hashlib
from pathlib import Path

import pytest

from limner.domain.failures import FailedRecord, Failure
from limner.domain.reads import FileRead
from limner.domain.tasks import FileRef
from limner.testing.picture_server import PictureServer
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


def files_in(folder: Path) -> list[Path]:
    """Every file under *folder*, at any depth."""
    return [path for path in folder.rglob("*") if path.is_file()]


def fetch_all(fetcher: Fetcher, server: PictureServer, numbers: range) -> None:
    """Fetch these pictures, one after another, and let go of each."""
    for number in numbers:
        with fetcher.hold() as hold:
            fetcher.fetch(FileRef(url=server.url(f"{number}.jpg")), FileRead(), hold=hold)
