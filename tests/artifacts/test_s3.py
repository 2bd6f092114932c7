"""What an object store adds: refusals in words, damage that is found, copies, other projects, and what is tidied up."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from limner.app.doctor import State, examine
from limner.app.projects import project_of
from limner.artifacts.connect import connect_artifacts
from limner.artifacts.s3_place import place_of
from limner.clock import MovedClock, SystemClock
from limner.errors import ArtifactMissing, ArtifactsUnavailable, ChecksumMismatch, ConfigurationError
from limner.settings import load_project
from tests.artifacts.stores import overwrite, s3_at
from tests.cluster.hardware import Impossible, SetClock
from tests.conftest import IN_CI
from tools.services import free_port


def test_the_url_and_the_environment_say_where_it_is() -> None:
    """The URL comes first, then AWS_ENDPOINT_URL and AWS_REGION, as other programs read them."""
    environment = {"AWS_ENDPOINT_URL": "https://s3.example.org", "AWS_REGION": "eu-north-1"}
    plain = place_of("s3://bucket", environment={})
    found = place_of("s3://bucket/a/b/", environment=environment)
    named = place_of("s3://bucket/a?endpoint_url=http://10.0.0.1:9000&region=here", environment=environment)

    assert (plain.endpoint, plain.region, plain.addressing, plain.key("ab" * 32)) == (
        None,
        None,
        "auto",
        f"ab/ab/{'ab' * 32}",
    )
    assert (found.endpoint, found.region, found.addressing) == ("https://s3.example.org", "eu-north-1", "path")
    assert found.key("ab" * 32) == f"a/b/ab/ab/{'ab' * 32}"
    assert (named.endpoint, named.region) == ("http://10.0.0.1:9000", "here")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://", "names no bucket"),
        ("s3://bucket?endpoint=x", "endpoint is not known"),
        ("s3://bucket?endpoint_url=server:9000", "no address of an object store"),
        ("s3://bucket?addressing=odd", "neither path nor virtual"),
        ("s3://KEY:hush@bucket", "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, told: str) -> None:
    """The sentence says what is wrong, and never repeats a secret."""
    with pytest.raises(ConfigurationError, match=told) as refused:
        place_of(url, environment={})

    assert "hush" not in str(refused.value)


def test_a_wrong_secret_is_refused(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the server does not take is a configuration error that names the variables."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")

    with pytest.raises(ConfigurationError, match=r"refuses: .*Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        connect_artifacts(s3_url, copies=tmp_path)


@pytest.mark.parametrize(("offset", "told"), [(3600, "60 minutes ahead of its own"), (-3600, "behind its own")])
def test_a_clock_that_is_wrong_is_said(s3_url: str, tmp_path: Path, offset: int, told: str) -> None:
    """S3 refuses what a clock signed that is an hour off; the sentence names the clock, and asking again is safe."""
    try:
        clock = SetClock(tmp_path / "clock")
    except Impossible as error:
        (pytest.fail if IN_CI else pytest.skip)(str(error))
    clock.set(offset)
    script = """
import sys
from pathlib import Path
from limner.artifacts.connect import connect_artifacts
from limner.errors import ArtifactsUnavailable
try:
    connect_artifacts(sys.argv[1], copies=Path(sys.argv[2]))
except ArtifactsUnavailable as error:
    print(error)
"""
    asked = subprocess.run(
        [sys.executable, "-c", script, s3_url, str(tmp_path / "copies")],
        env={**os.environ, **clock.environment},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert told in asked.stdout, asked.stderr


def test_no_key_at_all_is_said(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys nobody is asked; the sentence names the variables."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(ConfigurationError, match="No keys are known"):
        connect_artifacts(s3_url, copies=tmp_path)


def test_a_bucket_that_is_missing_is_said(s3_url: str, tmp_path: Path) -> None:
    """The sentence names the bucket, the server and the setting."""
    other = urlsplit(s3_url)._replace(netloc="elsewhere").geturl()

    with pytest.raises(ConfigurationError, match=r"There is no bucket elsewhere at http.*setting `artifacts`"):
        connect_artifacts(other, copies=tmp_path)


def test_nobody_answers(s3_keys: None, tmp_path: Path) -> None:
    """A server that is away is said after some seconds, as something to ask again."""
    with pytest.raises(ArtifactsUnavailable, match="cannot be reached"):
        connect_artifacts(f"s3://limner?endpoint_url=http://127.0.0.1:{free_port()}", copies=tmp_path)


@pytest.mark.parametrize("right", [True, False], ids=["as it should be", "a wrong secret"])
def test_doctor_looks_at_it(right: bool, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`limner doctor` writes to the bucket, and says what is wrong where it cannot."""
    if not right:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")

    found = [one for one in examine(tmp_path, options={"artifacts": s3_url}) if one.part == "artifacts"]

    assert [one.state for one in found] == [State.SOUND if right else State.WRONG]
    assert ("may be written" if right else "AWS_SECRET_ACCESS_KEY") in found[0].said


def test_a_truncated_object_is_found_and_mended(s3_url: str, tmp_path: Path) -> None:
    """Who reads a damaged object is told so; whoever has the bytes puts them again."""
    # given an object that lost its end, and somebody who has a copy
    artifacts = s3_at(s3_url, copies=tmp_path / "mine")
    other = s3_at(s3_url, copies=tmp_path / "other")
    data = b"moth" * 1000
    sha256 = artifacts.put(data)
    overwrite(artifacts, sha256, data[:-1])

    # then nobody is given it
    with pytest.raises(ChecksumMismatch, match=sha256):
        other.path(sha256)
    with pytest.raises(ChecksumMismatch, match=sha256):
        artifacts.verify(sha256)
    assert artifacts.path(sha256).read_bytes() == data

    # when it is put again, then it is whole
    artifacts.put(data)
    assert other.path(sha256).read_bytes() == data
    artifacts.verify(sha256)


def test_a_changed_object_of_the_same_size_is_not_read(s3_url: str, tmp_path: Path) -> None:
    """What is fetched is compared with its digest, whatever its size."""
    artifacts = s3_at(s3_url, copies=tmp_path / "mine")
    sha256 = artifacts.put(b"moth")
    overwrite(artifacts, sha256, b"myth")

    with pytest.raises(ChecksumMismatch):
        s3_at(s3_url, copies=tmp_path / "other").verify(sha256)


def test_a_damaged_copy_is_fetched_again(s3_url: str, tmp_path: Path) -> None:
    """A copy that somebody changed is no loss: the object is whole."""
    artifacts = s3_at(s3_url, copies=tmp_path)
    sha256 = artifacts.put(b"moth")
    artifacts.path(sha256).write_bytes(b"myth")

    artifacts.verify(sha256)

    assert artifacts.path(sha256).read_bytes() == b"moth"


def test_a_copy_is_no_artifact(s3_url: str, tmp_path: Path) -> None:
    """What another process deleted is gone, though a copy of it lies here."""
    artifacts, other = s3_at(s3_url, copies=tmp_path / "mine"), s3_at(s3_url, copies=tmp_path / "other")
    sha256 = artifacts.put(b"moth")

    other.delete(sha256)

    assert not artifacts.has(sha256)
    with pytest.raises(ArtifactMissing):
        artifacts.verify(sha256)
    # A put heals it, copy or not.
    assert artifacts.put(b"moth") == sha256
    assert other.has(sha256)


def test_what_is_put_again_counts_as_put_now(s3_url: str, tmp_path: Path) -> None:
    """An object is put anew after a day, so that no clean-up takes it for old; before, it is left alone."""
    clock = MovedClock(start=SystemClock().now())
    artifacts = s3_at(s3_url, copies=tmp_path, clock=clock)
    sha256 = artifacts.put(b"moth")
    overwrite(artifacts, sha256, b"myth")

    artifacts.put(b"moth")
    before = artifacts._call("head_object", sha256=sha256)["ETag"]
    clock.move(timedelta(days=2))
    artifacts.put(b"moth")

    assert artifacts._call("head_object", sha256=sha256)["ETag"] != before


def test_copies_are_bounded(s3_url: str, tmp_path: Path) -> None:
    """The longest unused copies go when they are too many; the objects stay."""
    clock = MovedClock(start=SystemClock().now())
    artifacts = s3_at(s3_url, copies=tmp_path, max_bytes=2500, clock=clock)
    first = artifacts.put(b"1" * 1000)
    clock.move(timedelta(hours=2))
    artifacts.put(b"2" * 1000)

    artifacts.put(b"3" * 1000)

    assert not (tmp_path / first[:2] / first[2:4] / first).exists()
    assert len(list(artifacts.stored())) == 3
    assert artifacts.path(first).read_bytes() == b"1" * 1000


def test_the_list_goes_beyond_a_page_and_passes_over_what_is_no_artifact(s3_url: str, tmp_path: Path) -> None:
    """More objects than one answer holds are all listed, in order; a stranger's object is not."""
    artifacts = s3_at(s3_url, copies=tmp_path)
    put = sorted(artifacts.put(bytes([at])) for at in range(12))
    artifacts._call("put_object", Key=f"{place_of(s3_url).prefix}/readme.txt", Body=b"x")

    assert [one.sha256 for one in artifacts.stored(page=5)] == put


def test_parts_that_a_killed_process_left_are_given_up(s3_url: str, tmp_path: Path) -> None:
    """An upload that nobody finished for days is aborted when a process connects; a young one goes on."""
    # given an upload in parts that was begun and left
    clock = MovedClock(start=SystemClock().now())
    artifacts = s3_at(s3_url, copies=tmp_path / "mine", clock=clock)
    sha256 = "ab" * 32
    upload = artifacts._call("create_multipart_upload", sha256=sha256)["UploadId"]

    def begun() -> list[str]:
        found = artifacts._call("list_multipart_uploads", Prefix=place_of(s3_url).prefix)
        return [one["UploadId"] for one in found.get("Uploads", ())]

    # then a process that connects a day later leaves it alone
    clock.move(timedelta(days=1))
    s3_at(s3_url, copies=tmp_path / "other", clock=clock)
    assert begun() == [upload]

    # and one that connects after three days gives it up
    clock.move(timedelta(days=2))
    s3_at(s3_url, copies=tmp_path / "other", clock=clock)
    assert begun() == []
    assert not artifacts.has(sha256)


def test_each_project_has_a_place_of_its_own(tmp_path: Path) -> None:
    """Projects of one server do not share artifacts, in a bucket either."""
    url = "s3://bucket/limner?region=here"
    root = load_project(tmp_path, environment={}, options={"artifacts": url})

    assert project_of(root, "moths").settings.artifacts == "s3://bucket/limner/projects/moths?region=here"


def test_a_folder_of_artifacts_can_be_copied_to_a_bucket(s3_url: str, tmp_path: Path) -> None:
    """Keys are the paths that files have in a folder, so any program that copies files moves artifacts."""
    folder = connect_artifacts(str(tmp_path / "folder"))
    sha256 = folder.put(b"moth")
    artifacts = s3_at(s3_url, copies=tmp_path / "copies")

    for file in (tmp_path / "folder").glob("*/*/*"):
        key = f"{place_of(s3_url).prefix}/{file.relative_to(tmp_path / 'folder')}"
        artifacts._call("put_object", Key=key, Body=file.read_bytes())

    assert artifacts.path(sha256).read_bytes() == b"moth"


def test_without_the_extra_the_command_that_installs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain install says which extra an address needs."""
    monkeypatch.setitem(sys.modules, "s3fs", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'limner\[s3\]'"):
        connect_artifacts("s3://bucket", copies=tmp_path)
