"""Files that inferrers answer with stand in the artifacts before anybody hears of them, and nowhere else after."""

import hashlib
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from limner.artifacts.folder import FolderArtifacts
from limner.domain.failures import FailureCode
from limner.domain.outputs import AnyOutput, Artifact, Number
from limner.domain.tasks import Answer, Outcome, Status
from limner.domain.values import Value, decode
from tests.cluster.hardware import Impossible, SmallDisk
from tests.conftest import IN_CI
from tests.waiting import until
from tests.worker.cases import runtime, task
from tests.worker.rig import Rig, codes

#: What ``Vignette`` answers with.
VIGNETTE: dict[str, AnyOutput] = {
    "note": Number(),
    "picture": Artifact(kind="image/x-vignette", optional=True),
    "file": Artifact(),
}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, where children's own folders lie."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def digest(content: str) -> str:
    """The SHA-256 of *content*."""
    return hashlib.sha256(content.encode()).hexdigest()


def stored(rig: Rig) -> set[str]:
    """The artifacts that there are."""
    return {one.sha256 for one in rig.artifacts.stored()}


def value(outcome: Outcome) -> Value:
    """What a record's outcome holds."""
    return decode(outcome.value)


def files_in(folder: Path) -> list[str]:
    """The names of every file under *folder*."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_files_that_inferrers_write_are_stored_before_they_are_answered(rig: Rig) -> None:
    """The value holds the digest of an artifact that is there."""
    one = task(runtime("Drawing", outputs={"drawing": Artifact()}), [1, 2])
    rig.worker(one.runtime.address)

    outcomes = rig.done(one)

    for index, number in enumerate([1, 2]):
        content = f"<svg>{number}</svg>"
        digest = hashlib.sha256(content.encode()).hexdigest()
        kind = "application/octet-stream"
        assert decode(outcomes[index].value)["drawing"] == {"sha256": digest, "bytes": len(content), "kind": kind}
        assert rig.artifacts.path(digest).read_text() == content


def test_temporary_files_that_were_stored_are_removed(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that lives for long does not fill the disk with files that are artifacts by now."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    one = task(runtime("Sketch", outputs={"drawing": Artifact()}), [1, 2])
    rig.worker(one.runtime.address)

    digests = {decode(outcome.value)["drawing"]["sha256"] for outcome in rig.done(one).values()}

    assert digests == {hashlib.sha256(b"<svg/>").hexdigest()}
    assert list((tmp_path / "temporary").rglob("*.svg")) == []


def test_only_files_of_done_records_are_stored(rig: Rig, temporary: Path) -> None:
    """A record that fails, and one that ends its process, store nothing, and what they left goes."""
    # given records of which one fails its check, one makes no picture, and one ends the process
    stage = runtime("Vignette", batch=8, outputs=VIGNETTE)
    worker = rig.worker(stage.address)

    # when
    outcomes = rig.done(task(stage, [1, 13, 0, -1, 2]))

    # then
    assert codes(outcomes) == {1: FailureCode.OUTPUT_INVALID, 3: FailureCode.WORKER_LOST}
    assert value(outcomes[0]) == {
        "note": 1,
        "picture": {"sha256": digest("picture 1"), "bytes": 9, "kind": "image/x-vignette"},
        "file": {"sha256": digest("written 1"), "bytes": 9, "kind": "application/octet-stream"},
    }
    assert value(outcomes[2])["picture"] is None
    contents = ["picture 1", "picture 2", "written 0", "written 1", "written 2"]
    assert stored(rig) == {digest(content) for content in contents}
    assert files_in(temporary) == []
    worker.stop(timedelta(seconds=5))
    assert list(temporary.iterdir()) == []


def test_what_is_unchanged_is_not_stored_again(rig: Rig) -> None:
    """A record whose input is what it was makes and uploads nothing."""
    stage = runtime("Vignette", outputs=VIGNETTE)
    rig.worker(stage.address)
    read = [outcome.read_digest for _, outcome in sorted(rig.done(task(stage, [1, 2], number=1)).items())]
    for sha256 in stored(rig):
        rig.artifacts.delete(sha256)

    outcomes = rig.done(task(stage, [1, 3], number=2, prior=read))

    assert [outcomes[0].status, outcomes[1].status] == [Status.UNCHANGED, Status.DONE]
    assert stored(rig) == {digest("picture 3"), digest("written 3")}


def test_an_inferrer_in_the_worker_itself_leaves_nothing(rig: Rig, temporary: Path) -> None:
    """Bytes that it answers with are written aside and removed; files that it wrote are the user's own."""
    stage = runtime("Vignette", isolation="thread", outputs=VIGNETTE)
    worker = rig.worker(stage.address)

    outcomes = rig.done(task(stage, [1, 2]))

    assert codes(outcomes) == {}
    assert digest("picture 1") in stored(rig)
    assert [name[-4:] for name in files_in(temporary)] == [".bin", ".bin"]
    worker.stop(timedelta(seconds=5))
    assert [path.suffix for path in temporary.iterdir()] == [".bin", ".bin"]


class Meddled(FolderArtifacts):
    """Artifacts on a machine on which somebody changes one file between its making and its upload."""

    def put_file(self, path: Path, *, expected: str | None = None) -> str:
        """Put the file, or what has become of it."""
        if path.read_bytes() == b"written 1":
            path.write_bytes(b"something else")
        if path.read_bytes() == b"written 2":
            path.unlink()
        return super().put_file(path, expected=expected)


def test_a_file_that_changed_before_it_was_stored_fails_its_record(tmp_path: Path) -> None:
    """No value ever names bytes that are not there; the neighbours are done."""
    rig = Rig(tmp_path)
    rig.artifacts = Meddled(tmp_path / "meddled")
    try:
        stage = runtime("Vignette", outputs=VIGNETTE)
        rig.worker(stage.address)

        outcomes = rig.done(task(stage, [0, 1, 2, 3]))

        assert codes(outcomes) == {1: FailureCode.OUTPUT_INVALID, 2: FailureCode.OUTPUT_INVALID}
        assert "changed or removed" in str(outcomes[1].failure)
        assert value(outcomes[3])["file"]["sha256"] in stored(rig)
    finally:
        rig.close()


def test_a_value_above_the_limit_names_the_way_out(rig: Rig) -> None:
    """The record fails with the limit and what to do, and its neighbours are done."""
    stage = runtime("large")
    rig.worker(stage.address, max_value_bytes=100_000)

    outcomes = rig.done(task(stage, [10, 200_000, 20]))

    assert codes(outcomes) == {1: FailureCode.OUTPUT_TOO_LARGE}
    told = str(outcomes[1].failure)
    assert "100,000 are allowed (max_value_bytes)" in told
    assert "Artifact" in told


def test_huge_result_split_not_lost(rig: Rig) -> None:
    """Thirty values of a megabyte each travel in answers of a few megabytes, every one once."""
    stage = runtime("large", batch=30)
    rig.worker(stage.address)

    outcomes = rig.done(task(stage, [1_000_000 + number for number in range(30)]))

    answers = [message for message in rig.heard if isinstance(message, Answer)]
    assert len(answers) >= 8
    assert all(sum(len(outcome.value) for outcome in answer.outcomes) <= 4_000_000 for answer in answers)
    assert [answer.last for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert [len(value(outcome)["value"]) - 1_000_000 for _, outcome in sorted(outcomes.items())] == list(range(30))


class Counted(FolderArtifacts):
    """Artifacts that count how often something was to be stored."""

    tried = 0

    def put_file(self, path: Path, *, expected: str | None = None) -> str:
        """Count, and put the file."""
        self.tried += 1
        return super().put_file(path, expected=expected)


def test_a_file_waits_for_room(tmp_path: Path) -> None:
    """No record fails where artifacts are full: what was inferred is stored and answered once there is room."""
    try:
        disk = SmallDisk(tmp_path / "disk", megabytes=1)
    except Impossible as error:
        (pytest.fail if IN_CI else pytest.skip)(str(error))
    rig = Rig(tmp_path)
    try:
        # given artifacts that have no room
        rig.artifacts = counted = Counted(tmp_path / "disk" / "artifacts")
        disk.fill()
        stage = runtime("Vignette", outputs=VIGNETTE)
        rig.worker(stage.address)
        one = task(stage, [1, 2])
        rig.send(one)

        # when a worker was refused several times, and then there is room
        until(lambda: counted.tried >= 3)
        disk.free()

        # then all is answered
        outcomes = rig.outcomes(one)
        assert codes(outcomes) == {}
        assert {value(outcome)["file"]["sha256"] for outcome in outcomes.values()} <= stored(rig)
    finally:
        rig.close()
        disk.close()
