"""A server that leaves inferring to far workers does the steps itself that no client names, so that requests end."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from limner.settings import load_project
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer
from tests.far.workers import WorkerProcess
from tests.systems.antenna.trap import CLASSIFY, DETECT, TRACK, Trap, images_of, new_project
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Callable[[], Trap]]:
    """Call to have a server as `limner serve --workers 0` is."""
    with ExitStack() as stack:

        def start() -> Trap:
            options = {"allow_hosts": ["127.0.0.1"], "facades": [], "lease": 5.0}
            project = load_project(new_project(tmp_path / "alone"), environment={}, options=options)
            return Trap(stack.enter_context(LocalServer(project, own_workers=False)))

        yield start


@pytest.mark.timeout(240)
def test_workers_for_the_named_stages_are_enough(
    alone: Callable[[], Trap], pictures: PictureServer, small_night: list[TrapFrame], tmp_path: Path
) -> None:
    """A worker that was started for two stages alone: the request ends, and so does one whose boxes were given."""
    server = alone()
    images = images_of(small_night[:2], url=pictures.url)
    boxed = [
        {**image, "id": f"boxed {image['id']}", "detections": [{"x1": 9, "y1": 9, "x2": 40, "y2": 40}]}
        for image in images
    ]
    with WorkerProcess(
        tmp_path / "w", server.server.url, "--name", "team", "--stage", "detect", "--stage", "classify",
        "--implementation", "blobs", "--implementation", "size-shape",
    ):  # fmt: skip
        job = server.run(images, [DETECT, CLASSIFY])
        given = server.run(boxed, [CLASSIFY])

    assert server.counts(job).done == len(images)
    assert server.counts(given).done == len(boxed)
    (header,) = server.why("captures", f"traps:{images[0]['id']}", stage="header").origins
    (found,) = server.why("captures", f"traps:{images[0]['id']}", stage="detect").origins
    assert header.worker not in ("team", None)
    assert found.worker == "team"


@pytest.mark.timeout(240)
def test_a_named_stage_without_a_worker_is_what_a_request_waits_for(
    alone: Callable[[], Trap], pictures: PictureServer, small_night: list[TrapFrame], tmp_path: Path
) -> None:
    """Tracks are asked for and nobody makes them: the reason names that stage, and none that no client knows."""
    server = alone()
    job = server.submit(images_of(small_night[:2], url=pictures.url), [DETECT, TRACK])

    def reason() -> str:
        return str(server.server.client.get(f"/api/v1/jobs/{job.id}").json()["waiting_reason"])

    until(lambda: "detect/blobs" in reason())
    with WorkerProcess(tmp_path / "w", server.server.url, "--stage", "detect"):
        until(lambda: "track/tracker" in reason())

    assert reason() == "no live worker for track/tracker (never seen)"
