"""The antenna's own pipeline in a storm: pictures, boxes, labels, vectors and tracks are those of a calm night."""

from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from limner.systems.antenna.trap_pictures import night
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.chaos.project import Place
from tests.systems.antenna.chaos.storm import SEED, Act, Storm, schedule
from tests.systems.antenna.trap import new_project

pytestmark = [pytest.mark.chaos, pytest.mark.chaos_full, pytest.mark.slow]
NIGHTS, FRAMES = 6, 3
STAGES = [
    ("OBJECT_DETECTION", "blobs"),
    ("IMAGE_CROP", "crop"),
    ("CLASSIFICATION", "size-shape"),
    ("CNN_FEATURE_CLASSIFIER", "colour-histogram"),
    ("TRACKING", "tracker"),
]
ACTS = ["kill_server"] * 4 + ["kill_worker"] * 3 + ["freeze_worker", "stop_worker"]


def trap(folder: Path) -> Path:
    """A project as `limner init --from antenna` makes it, with short leases."""
    new_project(folder)
    settings = folder / "limner.toml"
    text = settings.read_text().replace("allow_hosts = []", 'allow_hosts = ["127.0.0.1"]\nlease = 3.0')
    settings.write_text(text)
    return folder


def inferred(storm: Storm, pictures: PictureServer, acts: Sequence[Act]) -> dict[Place, tuple[int, bytes]]:
    """What is inferred of the nights, each a request of its own, whatever happens meanwhile."""
    with storm:
        jobs = []
        for at in range(NIGHTS):
            names = [f"{at}-{frame}.jpg" for frame in range(FRAMES)]
            body = {
                "projectId": "traps",
                "jobId": "one",
                "sourceImages": [{"id": n, "url": pictures.url(n), "eventId": f"night {at}"} for n in names],
                "pipelineConfig": {"stages": [{"stage": s, "stageImplementation": way} for s, way in STAGES]},
            }
            answer = httpx.post(f"{storm.server.url}/createRequest", json=body, timeout=30)
            assert answer.status_code == 202, answer.text
            jobs.append(answer.json()["requestId"])
        storm.rage(acts)
        storm.ended(jobs)
        for job in jobs:
            row = storm.looks.job(job)
            assert (row.state, row.counts["done"]) == ("done", FRAMES)
        found = storm.looks.results()
        storm.sound()
    return found


@pytest.mark.timeout(900)
def test_a50_pictures_in_a_storm(tmp_path: Path, note: Callable[[str, object], None]) -> None:
    """Boxes, crops, labels, vectors and tracks come out the same, to the byte, and nothing is there twice."""
    served = {
        f"{at}-{place}.jpg": frame.jpeg()
        for at in range(NIGHTS)
        for place, frame in enumerate(night(seed=40 + at, frames=FRAMES, things=5, size=(960, 540)))
    }
    with PictureServer(served) as pictures:
        calm = inferred(Storm(tmp_path / "calm", workers=1, project=trap), pictures, [])
        storm = Storm(tmp_path / "storm", workers=2, project=trap)
        acts = schedule(SEED, acts=ACTS, workers=2, results=len(calm))

        found = inferred(storm, pictures, acts)

    assert {place.stage for place in calm} == {"header", "detect", "crop", "classify", "features", "frame", "track"}
    assert found == calm
    note("results", len(calm))
    note("seconds to the first new result", storm.waits)
