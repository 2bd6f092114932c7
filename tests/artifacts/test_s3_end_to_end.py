"""A system at work whose files lie in an object store: nothing changes but the setting."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from limner.artifacts.s3_place import place_of
from limner.settings import load_project
from limner.systems.antenna.trap_pictures import night
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer
from tests.artifacts.stores import s3_at
from tests.systems.antenna.trap import CROP, DETECT, Trap, images_of, new_project

pytestmark = pytest.mark.slow

FRAMES = list(night(seed=41, frames=2, things=5, size=(960, 540)))


def crops_of(folder: Path, *, environment: Mapping[str, str]) -> dict[str, bytes]:
    """The crops of a night by their digests, as the API hands them out; what is found needs no copy on the server."""
    options = {"allow_hosts": ["127.0.0.1"], "facades": [], "parallel": 1}
    project = load_project(new_project(folder), environment=environment, options=options)
    frames = {frame.name: frame.jpeg() for frame in FRAMES}
    with PictureServer(frames) as pictures, LocalServer(project) as server:
        trap = Trap(server)
        job = trap.run(images_of(FRAMES, url=pictures.url), [DETECT, CROP])
        found = [line for line in trap.results(job) if line.collection == "detections"]
        named = {line.values["crop"]["crop"]["sha256"] for line in found}
        shutil.rmtree(project.home / "copies", ignore_errors=True)
        (project.home / "copies" / "aside").mkdir(parents=True)
        answers = {sha256: server.client.get(f"/api/v1/artifacts/{sha256}") for sha256 in sorted(named)}
    assert all(answer.status_code == 200 for answer in answers.values())
    assert all(answer.headers["content-type"] == "image/jpeg" for answer in answers.values())
    return {sha256: answer.content for sha256, answer in answers.items()}


def test_crops_of_a_night_lie_in_the_bucket_and_are_handed_out(s3_url: str, tmp_path: Path) -> None:
    """With LIMNER_ARTIFACTS alone, the same files come of the same pictures, from the bucket."""
    there = crops_of(tmp_path / "bucket", environment={"LIMNER_ARTIFACTS": s3_url})
    here = crops_of(tmp_path / "folder", environment={})

    assert there
    assert there == here
    assert all(hashlib.sha256(data).hexdigest() == sha256 for sha256, data in there.items())
    assert place_of(s3_url).prefix
    assert {one.sha256 for one in s3_at(s3_url, copies=tmp_path / "copies").stored()} >= set(there)
