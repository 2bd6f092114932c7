"""Places in object stores for tests."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from limner.artifacts.s3 import S3Artifacts
from limner.artifacts.s3_place import place_of
from limner.clock import Clock


def below(url: str) -> str:
    """A place of the test's own in the bucket at *url*."""
    return urlsplit(url)._replace(path=f"/test-{uuid4().hex}").geturl()


def s3_at(url: str, *, copies: Path, max_bytes: int = 10**9, clock: Clock | None = None) -> S3Artifacts:
    """The artifacts at *url*, with copies in a folder of the test's."""
    return S3Artifacts(place_of(url), folder=copies, patience=timedelta(seconds=60), max_bytes=max_bytes, clock=clock)


def overwrite(artifacts: S3Artifacts, sha256: str, data: bytes) -> None:
    """Put other bytes under the key of *sha256*, as damage would."""
    artifacts._call("put_object", sha256=sha256, Body=data)
