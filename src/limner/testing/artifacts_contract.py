"""What every backend of the artifacts must do; subclass it and give it a fixture `artifacts`."""

import hashlib
import threading
from pathlib import Path

import pytest

from limner.artifacts.base import Artifacts
from limner.errors import ArtifactMissing, ChecksumMismatch

_ABSENT = hashlib.sha256(b"never stored").hexdigest()


class ArtifactsContract:
    """Tests that run over every backend; *artifacts* is empty at the start of each."""

    @pytest.fixture
    def artifacts(self) -> Artifacts:
        """The backend to test, empty."""
        raise NotImplementedError("abstract: a subclass gives the fixture `artifacts`")

    @pytest.fixture
    def elsewhere(self) -> bool:
        """Whether a server keeps the artifacts that *artifacts* has copies of, and deletes them by itself."""
        return False

    @pytest.mark.parametrize("data", [b"", b"a", b"x" * 3_000_000], ids=["nothing", "a byte", "3 MB"])
    def test_bytes_come_back(self, artifacts: Artifacts, data: bytes) -> None:
        """What was put is found by its SHA-256, as a file and as a stream."""
        sha256 = artifacts.put(data)

        assert sha256 == hashlib.sha256(data).hexdigest()
        assert artifacts.has(sha256)
        assert artifacts.path(sha256).read_bytes() == data
        with artifacts.open(sha256) as stream:
            assert stream.read() == data
        artifacts.verify(sha256)

    def test_a_file_is_copied(self, artifacts: Artifacts, tmp_path: Path) -> None:
        """A file that was put may be changed and removed; the artifact stays as it was."""
        file = tmp_path / "drawing.svg"
        file.write_bytes(b"drawing")

        sha256 = artifacts.put_file(file)
        file.write_bytes(b"changed")
        file.unlink()

        assert artifacts.path(sha256).read_bytes() == b"drawing"

    def test_an_unexpected_digest_stores_nothing(self, artifacts: Artifacts, tmp_path: Path) -> None:
        """Bytes that are not what was promised are refused."""
        (tmp_path / "file").write_bytes(b"other")

        with pytest.raises(ChecksumMismatch):
            artifacts.put(b"other", expected=_ABSENT)
        with pytest.raises(ChecksumMismatch):
            artifacts.put_file(tmp_path / "file", expected=_ABSENT)

        assert list(artifacts.stored()) == []

    @pytest.mark.parametrize("sha256", [_ABSENT, "", "../../etc/passwd", _ABSENT.upper(), _ABSENT[:-1]])
    def test_what_is_not_there_is_said(self, artifacts: Artifacts, sha256: str) -> None:
        """An unknown digest, and a text that is none, raise ArtifactMissing."""
        assert not artifacts.has(sha256)
        for verb in (artifacts.path, artifacts.open, artifacts.verify):
            with pytest.raises(ArtifactMissing):
                verb(sha256)

    def test_deleted_is_gone(self, artifacts: Artifacts, elsewhere: bool) -> None:
        """A deleted artifact is missing, unless a server keeps it; deleting again does nothing."""
        sha256 = artifacts.put(b"short-lived")

        artifacts.delete(sha256)
        artifacts.delete(sha256)

        assert artifacts.has(sha256) == elsewhere
        assert list(artifacts.stored()) == []

    def test_a_stream_outlives_deletion(self, artifacts: Artifacts) -> None:
        """Who is reading an artifact reads it to its end."""
        sha256 = artifacts.put(b"read on")

        with artifacts.open(sha256) as stream:
            artifacts.delete(sha256)
            assert stream.read() == b"read on"

    def test_the_list_is_ordered_and_tells_sizes(self, artifacts: Artifacts) -> None:
        """Each artifact is listed once, by digest, with its size and a time."""
        put = {artifacts.put(bytes(size)): size for size in range(20)}
        artifacts.put(bytes(3))

        listed = list(artifacts.stored())

        assert [stored.sha256 for stored in listed] == sorted(put)
        assert {stored.sha256: stored.size for stored in listed} == put
        assert all(stored.put > 0 for stored in listed)

    def test_many_threads_put_the_same(self, artifacts: Artifacts) -> None:
        """Threads that put the same bytes at once all succeed, and one artifact is there."""
        start = threading.Barrier(8)
        found: list[str] = []

        def put() -> None:
            start.wait()
            found.append(artifacts.put(b"same" * 10_000))

        threads = [threading.Thread(target=put) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(found) == 8
        assert [stored.sha256 for stored in artifacts.stored()] == [found[0]]
        artifacts.verify(found[0])
