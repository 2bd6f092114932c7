"""A44: what happened to a request is written down once, step by step, and costs nothing as requests grow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.picture_server import PictureServer
from tests.systems.antenna.trap import CLASSIFY, DETECT, Trap, images_of

pytestmark = pytest.mark.slow


def followed(trap: Trap, job: str) -> subprocess.Popen[str]:
    """A person who watches a job."""
    command = [str(Path(sys.executable).with_name("limner")), "jobs", job, "--events", "--follow", "--json"]
    folder = trap.server.projects.project.folder
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_events_are_followed_to_the_end(
    shared_trap: Trap, pictures: PictureServer, small_night: list[TrapFrame]
) -> None:
    """Each event is told once, as it happens, and the last is the end; what was told is never changed."""
    # given
    images = [{**one, "id": f"a44/{one['id']}"} for one in images_of(small_night, url=pictures.url)]
    job = shared_trap.submit(images, [DETECT, CLASSIFY])
    watching = followed(shared_trap, job.id)

    # when
    out, err = watching.communicate(timeout=60)

    # then
    assert watching.returncode == 0, err
    told = [json.loads(line)["kind"] for line in out.splitlines()]
    assert told[0] == "created"
    assert told[-1] == "done"
    with shared_trap.host.store.reading() as tx:
        assert told == [event.kind for event in tx.jobs.events(job.id)]


def test_events_do_not_grow_with_pictures(shared_trap: Trap, pictures: PictureServer) -> None:
    """A request of twenty pictures has as many events as one of a single picture: the log slows nothing down."""
    # given
    few = [{"id": "a44-few", "url": pictures.url("empty.jpg")}]
    many = [{"id": f"a44-many-{at}", "url": pictures.url("empty.jpg")} for at in range(20)]

    # when
    jobs = [shared_trap.run(images, [DETECT]) for images in (few, many)]

    # then
    with shared_trap.host.store.reading() as tx:
        kinds = [[event.kind for event in tx.jobs.events(job.id)] for job in jobs]
    assert kinds[0] == kinds[1]
