"""The folder of artifacts keeps the contract, survives being killed, and finds damage."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limner.artifacts.base import Artifacts
from limner.artifacts.connect import connect_artifacts
from limner.artifacts.folder import FolderArtifacts
from limner.errors import ArtifactsUnavailable, ChecksumMismatch, ConfigurationError
from limner.testing.artifacts_contract import ArtifactsContract
from tests.cluster.hardware import Impossible, SmallDisk
from tests.conftest import IN_CI


class TestFolder(ArtifactsContract):
    """The contract over a folder."""

    @pytest.fixture
    def artifacts(self, tmp_path: Path) -> Artifacts:
        """An empty folder."""
        return FolderArtifacts(tmp_path / "artifacts")


#: Puts three megabytes, and waits for ever when two of them are written.
_WRITER = """
import sys, time
from pathlib import Path
from limner.artifacts.folder import FolderArtifacts

def chunks():
    yield bytes(2_000_000)
    print("written", flush=True)
    time.sleep(60)

FolderArtifacts(Path(sys.argv[1]))._write(chunks(), sha256="0" * 64)
"""


def test_half_written_files_are_removed_at_the_next_start(tmp_path: Path) -> None:
    """What a killed process left is removed, but not what a living process is writing."""
    # given a process that is in the middle of writing
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    with writer:
        assert writer.stdout is not None
        writer.stdout.readline()

        # when another process starts beside it, then nothing is removed
        FolderArtifacts(tmp_path)
        assert len(list((tmp_path / "aside").iterdir())) == 1

        # when it is killed and another one starts, then nothing is left
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    artifacts = FolderArtifacts(tmp_path)

    assert list((tmp_path / "aside").iterdir()) == []
    assert list(artifacts.stored()) == []


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    """Verifying reads the bytes, so damage on the disk is found and named."""
    artifacts = FolderArtifacts(tmp_path)
    sha256 = artifacts.put(b"model")

    artifacts.path(sha256).write_bytes(b"mobel")

    with pytest.raises(ChecksumMismatch, match=sha256):
        artifacts.verify(sha256)


@pytest.mark.parametrize("form", ["{folder}", "file://{folder}", "file://localhost{folder}"])
def test_a_path_and_a_file_address_lead_to_the_same_folder(tmp_path: Path, form: str) -> None:
    """The setting takes a path as well as a file: address."""
    sha256 = FolderArtifacts(tmp_path / "my artifacts").put(b"x")
    folder = str(tmp_path / "my artifacts")

    assert connect_artifacts(form.format(folder=folder.replace(" ", "%20") if "file" in form else folder)).has(sha256)


@pytest.mark.parametrize("url", ["ftp://example.org/x", "file://elsewhere/x"])
def test_another_address_is_refused(url: str) -> None:
    """A backend that does not exist is a configuration error that names the setting."""
    with pytest.raises(ConfigurationError, match="artifacts"):
        connect_artifacts(url)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file where the folder should be is a configuration error."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="cannot be used"):
        connect_artifacts(str(tmp_path / "file"))


def test_a_full_disk_is_artifacts_unavailable(tmp_path: Path) -> None:
    """Where there is no room nothing is stored or left over, and the same put goes well once there is some."""
    try:
        disk = SmallDisk(tmp_path / "disk", megabytes=1)
    except Impossible as error:
        (pytest.fail if IN_CI else pytest.skip)(str(error))
    try:
        # given a disk that is full
        artifacts = FolderArtifacts(tmp_path / "disk" / "artifacts")
        (tmp_path / "file").write_bytes(b"another")
        disk.fill()

        # when something is put, then it is said that there is no room
        with pytest.raises(ArtifactsUnavailable, match="There is no room for another artifact"):
            artifacts.put(b"one")
        with pytest.raises(ArtifactsUnavailable, match="There is no room for another artifact"):
            artifacts.put_file(tmp_path / "file")
        assert list(artifacts.stored()) == []
        assert list((tmp_path / "disk" / "artifacts" / "aside").iterdir()) == []

        # when there is room again, then it is stored
        disk.free()
        artifacts.verify(artifacts.put(b"one"))
        artifacts.verify(artifacts.put_file(tmp_path / "file"))
    finally:
        disk.close()
