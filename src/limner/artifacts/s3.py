"""Artifacts in an object store that speaks S3, with copies of what was used here in a folder that is bounded."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from s3fs import S3FileSystem

from limner.artifacts.base import Artifacts, Stored, checked, is_digest
from limner.artifacts.copies import GIGABYTE, Copies
from limner.artifacts.patience import patiently
from limner.artifacts.s3_errors import translated
from limner.artifacts.s3_place import Place
from limner.clock import Clock, SystemClock
from limner.errors import ArtifactMissing, ArtifactsUnavailable, LimnerError

#: Bytes of one part of a large object; a file of twice as many goes up in parts, two at a time.
_PART, _AT_ONCE = 8 << 20, 2
#: Parts that an object may have.
_MOST_PARTS = 10_000
#: For so long a server that cannot be reached is asked again when it is first connected to.
_GREETING = timedelta(seconds=3)
#: An object that was put longer ago is put again when it is put: by its age a clean-up takes it for old.
_YOUNG = timedelta(days=1)
#: Parts of an upload that nobody finished in this time are removed.
_ABANDONED = timedelta(days=2)
_T = TypeVar("_T")


class S3Artifacts(Artifacts):
    """
    Objects ``<prefix>/ab/cd/abcd…`` of one bucket; any number of processes on any machines may share it.

    An object is there whole or not at all, as S3 promises for a put and for the end of an upload in parts, and nothing
    is asked of the server beyond that: no versions, no conditional put. What is read is compared with its digest. A
    server that cannot be reached is asked again for as long as *patience*.

    Raises:
        ConfigurationError: the keys are refused, or there is no such bucket.
        ArtifactsUnavailable: nobody answers.
    """

    def __init__(
        self,
        place: Place,
        *,
        folder: Path,
        max_bytes: int = 10 * GIGABYTE,
        patience: timedelta = timedelta(minutes=2),
        clock: Clock | None = None,
    ) -> None:
        self._place = place
        self._clock = clock or SystemClock()
        self._patience = patience
        self._never = threading.Event()
        self._files = S3FileSystem(**place.options())
        self._patiently(lambda: self._call("list_objects_v2", MaxKeys=1), patience=_GREETING)
        self._copies = Copies(folder, max_bytes=max_bytes, clock=self._clock)
        self._remove_unfinished()

    def put(self, data: bytes, *, expected: str | None = None) -> str:
        """Keep a copy here, and put it unless it is there."""
        return self._upload(self._copies.put(data, expected=expected))

    def put_file(self, path: Path, *, expected: str | None = None) -> str:
        """Keep a copy of the file here, and put that, which nobody changes meanwhile."""
        return self._upload(self._copies.put_file(path, expected=expected))

    def path(self, sha256: str) -> Path:
        """The copy here; fetched first, where there is none."""
        return self._copies.find(sha256) or self._fetch(sha256)

    def open(self, sha256: str) -> BinaryIO:
        """The copy here, opened; fetched first, where there is none."""
        return self.path(sha256).open("rb")

    def has(self, sha256: str) -> bool:
        """Whether the object is there; a copy here does not count, since others could not read it."""
        return is_digest(sha256) and self._found(sha256) is not None

    def delete(self, sha256: str) -> None:
        """Remove the object and the copy here; copies elsewhere go when they are the longest unused."""
        if is_digest(sha256):
            self._copies.delete(sha256)
            with suppress(ArtifactMissing):
                self._patiently(lambda: self._call("delete_object", sha256=sha256))

    def stored(self, *, page: int = 1000) -> Iterator[Stored]:
        """
        The objects, in order of digest, so many in *page* of the server's answers.

        Each comes once: a server that took several puts of one object at once may list it twice, as rclone does.
        """
        start = f"{self._place.prefix}/" if self._place.prefix else ""
        last = ""
        more: dict[str, str] = {}
        while True:
            answer = self._patiently(partial(self._call, "list_objects_v2", Prefix=start, MaxKeys=page, **more))
            for found in answer.get("Contents", ()):
                sha256 = str(found["Key"]).rpartition("/")[2]
                if sha256 != last and is_digest(sha256) and found["Key"] == self._place.key(sha256):
                    last = sha256
                    yield _stored(sha256, size=found["Size"], put=found["LastModified"])
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def verify(self, sha256: str) -> None:
        """Compare the copy here with its digest and the object with its size; the object itself where either is off."""
        there = self._found(checked(sha256))
        if there is None:
            raise ArtifactMissing(sha256)
        copy = self._copies.find(sha256)
        if copy is not None and not self._copies.sound(sha256):
            self._copies.delete(sha256)
            copy = None
        if copy is None or copy.stat().st_size != there.size:
            self._fetch(sha256)

    def _found(self, sha256: str) -> Stored | None:
        """The object as the server tells of it; None where there is none."""
        try:
            head = self._patiently(lambda: self._call("head_object", sha256=sha256))
        except ArtifactMissing:
            return None
        return _stored(sha256, size=head["ContentLength"], put=head["LastModified"])

    def _upload(self, copy: Path) -> str:
        """Put *copy*, unless it is there whole and was put of late: who cleans up goes by that time."""
        sha256, size = copy.name, copy.stat().st_size
        there = self._found(sha256)
        late = self._clock.now() - _YOUNG.total_seconds()
        if there is None or there.size != size or there.put < late:
            part = max(_PART, -(-size // _MOST_PARTS))
            name = f"{self._place.bucket}/{self._place.key(sha256)}"

            def send() -> None:
                with translated(self._place):
                    self._files.put_file(str(copy), name, chunksize=part, max_concurrency=_AT_ONCE)

            self._patiently(send)
        return sha256

    def _fetch(self, sha256: str) -> Path:
        """Read the object a piece at a time, and keep it here once its digest was compared."""
        name = f"{self._place.bucket}/{self._place.key(sha256)}"

        def receive(to: Path) -> None:
            with translated(self._place, sha256=sha256):
                self._files.get_file(name, str(to), max_concurrency=1)

        return self._copies.fetch(sha256, lambda to: self._patiently(lambda: receive(to)))

    def _remove_unfinished(self) -> None:
        """Give up uploads in parts that killed processes began; a server that does not list them is left alone."""
        before = self._clock.now() - _ABANDONED.total_seconds()
        with suppress(LimnerError):
            for begun in self._call("list_multipart_uploads", Prefix=self._place.prefix).get("Uploads", ()):
                if begun["Initiated"].timestamp() < before:
                    self._call("abort_multipart_upload", Key=begun["Key"], UploadId=begun["UploadId"])

    def _call(self, method: str, *, sha256: str = "", **arguments: object) -> dict[str, Any]:
        """What the server answers to one call, about the object of *sha256* where one is named."""
        if sha256:
            arguments["Key"] = self._place.key(sha256)
        with translated(self._place, sha256=sha256):
            answer: dict[str, Any] = self._files.call_s3(method, Bucket=self._place.bucket, **arguments)
            return answer

    def _patiently(self, call: Callable[[], _T], *, patience: timedelta | None = None) -> _T:
        """What *call* returns; while the server cannot be reached, it is called again."""
        return patiently(
            call,
            away=ArtifactsUnavailable,
            patience=self._patience if patience is None else patience,
            over=self._never,
        )


def _stored(sha256: str, *, size: int, put: datetime) -> Stored:
    return Stored(sha256=sha256, size=size, put=put.timestamp())
