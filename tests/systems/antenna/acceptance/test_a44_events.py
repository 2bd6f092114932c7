"""A44: what happened to a request is written down once, step by step, and costs nothing as requests grow."""

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Self

import pytest
from sqlalchemy import Connection, event

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


class Spent:
    """Adds up the seconds that a store's statements take, those about events apart."""

    def __init__(self, trap: Trap) -> None:
        with trap.host.store.reading() as tx:
            self._engine = tx.connection.engine
        self.events = 0.0
        self.statements = 0

    def __enter__(self) -> Self:
        event.listen(self._engine, "before_cursor_execute", self._before)
        event.listen(self._engine, "after_cursor_execute", self._after)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._before)
        event.remove(self._engine, "after_cursor_execute", self._after)

    def _before(self, connection: Connection, *_: object) -> None:
        connection.info["began"] = perf_counter()

    def _after(self, connection: Connection, _: object, statement: str, *__: object) -> None:
        if "job_events" in statement:
            self.events += perf_counter() - connection.info["began"]
            self.statements += 1


def test_the_log_takes_less_than_a_tenth(shared_trap: Trap, pictures: PictureServer) -> None:
    """Of the time that a job takes while somebody follows it, what is spent on its events is far below 10 %."""
    # given
    images = [{"id": f"a44-rate-{at}", "url": pictures.url("empty.jpg")} for at in range(20)]

    # when
    with Spent(shared_trap) as spent:
        began = perf_counter()
        job = shared_trap.submit(images, [DETECT])
        told: list[str] = []
        while "done" not in told:
            answer = shared_trap.server.client.get(f"/api/v1/jobs/{job.id}/events").json()
            told = [event["kind"] for event in answer["items"]]
        seconds = perf_counter() - began

    # then
    assert spent.statements > len(told)
    assert spent.events < 0.1 * seconds
