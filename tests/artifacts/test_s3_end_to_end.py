"""A system at work whose files lie in an object store: nothing changes but the setting."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from limner.app.hosting import Host
from limner.app.submitting import Submission
from limner.domain.jobs import Counts, Job
from limner.domain.records import RecordIn
from limner.settings import load_project
from limner.systems.antenna.trap_pictures import night
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer
from tests.artifacts.stores import s3_at
from tests.systems.antenna.trap import CROP, DETECT, Trap, images_of, new_project
from tests.waiting import until
from tools.services import ObjectStore

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


PIPELINE = """
from limner import Artifact, Pipeline, Stage

pipeline = Pipeline("texts", collection="texts", stages=[
    Stage("long", "work:long", reads={"text": "text"}, outputs={"file": Artifact()}, batch=2, task_size=4),
])
"""
INFERRERS = """
def long(text: str) -> dict:
    return {"file": (text * 300_000).encode()}
"""


def test_a_store_that_dies_in_mid_job_costs_nothing_but_time(
    tmp_path: Path, s3_keys: None, require_service: Callable[[str], str]
) -> None:
    """The object store is killed while a job writes to it, and is started again: every file is there in the end."""
    require_service("s3")
    # given a job whose files lie in an object store
    (tmp_path / "store").mkdir()
    store = ObjectStore(tmp_path / "store")
    store.start()
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pipeline.py").write_text(PIPELINE)
    (folder / "work.py").write_text(INFERRERS)
    texts = {f"t{n}": f"text {n} " for n in range(30)}
    rows = [RecordIn(collection="texts", id=one, fields={"text": text}) for one, text in texts.items()]
    kept = tmp_path / "store" / "data"
    try:
        with LocalServer(folder, artifacts=store.url, parallel=1) as server:
            host = server.host
            job = host.submit(Submission(pipeline="texts", rows=rows))

            # when the store dies once it has some of them, and is back a little later
            until(lambda: len([file for file in kept.rglob("*") if len(file.name) == 64]) >= 3)
            store.kill()
            before = counts(host, job)
            store.start()

            # then all is done, and every file is whole
            until(lambda: counts(host, job).open == 0)
            after = counts(host, job)
        assert before.open > 0
        assert (after.done, after.failed) == (len(texts), 0)
        artifacts = s3_at(store.url, copies=tmp_path / "copies")
        for text in texts.values():
            data = (text * 300_000).encode()
            assert artifacts.path(hashlib.sha256(data).hexdigest()).read_bytes() == data
    finally:
        store.kill()


def counts(host: Host, job: Job) -> Counts:
    """What became of a job's records."""
    with host.store.reading() as tx:
        return tx.ledger.counts(job.id)


def test_crops_of_a_night_lie_in_the_bucket_and_are_handed_out(s3_url: str, tmp_path: Path) -> None:
    """With LIMNER_ARTIFACTS alone, the same files come of the same pictures, from the bucket."""
    there = crops_of(tmp_path / "bucket", environment={"LIMNER_ARTIFACTS": s3_url})
    here = crops_of(tmp_path / "folder", environment={})

    assert there
    assert there == here
    assert all(hashlib.sha256(data).hexdigest() == sha256 for sha256, data in there.items())
    assert {one.sha256 for one in s3_at(s3_url, copies=tmp_path / "copies").stored()} >= set(there)
