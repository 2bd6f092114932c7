"""A19: no broker is needed; with one, a worker that reaches nothing else does the same work, and nothing is lost."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pika
import pytest

from limner.bus.rabbitmq_place import place_of
from limner.domain.jobs import Job
from limner.settings import load_project
from limner.systems.antenna.trap_pictures import TrapFrame
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer
from tests.far.workers import WorkerProcess
from tests.systems.antenna.trap import CLASSIFY, CROP, DETECT, FEATURES, TRACK, Trap, images_of, new_project
from tests.waiting import until
from tools.services import Broker

pytestmark = pytest.mark.slow
EVERY = (DETECT, CROP, CLASSIFY, FEATURES, TRACK)
#: Time for what the machine does beside.
LONG = timedelta(seconds=90)
_JOBS = 8


@pytest.fixture
def url(require_service: Callable[[str], str]) -> str:
    """The broker, and queues of the test's own there."""
    return f"{require_service('rabbitmq')}?prefix=test-{uuid4().hex[:12]}"


@pytest.fixture
def by_broker(tmp_path: Path) -> Iterator[Callable[..., Trap]]:
    """Call with a broker's address to have a server on it that infers nothing itself."""
    with ExitStack() as stack:

        def start(bus: str) -> Trap:
            options = {"bus": bus, "allow_hosts": ["127.0.0.1"], "facades": [], "lease": 2.0, "in_flight": 4}
            project = load_project(new_project(tmp_path / "by-broker"), environment={}, options=options)
            return Trap(stack.enter_context(LocalServer(project, own_workers=False)))

        yield start


def said(trap: Trap, job: Job) -> list[str]:
    """Everything that a job's steps say, of every record, in an order of its own."""
    return sorted(
        repr((line.collection, line.id, line.parent, line.status, line.values, line.fields))
        for line in trap.results(job)
    )


def peers(pid: int) -> set[int]:
    """The ports at the other ends of a process's connections."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].partition(":")[2], 16) for row in rows if row[9] in inodes}


@pytest.mark.timeout(240)
def test_a_worker_that_knows_only_the_broker_agrees_with_one_process(
    by_broker: Callable[..., Trap],
    trap: Callable[..., Trap],
    pictures: PictureServer,
    small_night: list[TrapFrame],
    url: str,
    tmp_path: Path,
) -> None:
    """Every step, files between them included: both say exactly the same, and the worker never called the server."""
    images = images_of(small_night, url=pictures.url)
    alone = trap()
    expected = said(alone, alone.run(images, EVERY))

    server = by_broker(url)
    job = server.submit(images, EVERY)
    seen: set[int] = set()
    with WorkerProcess(tmp_path / "w", url, "--name", "afar") as worker:

        def over() -> bool:
            seen.update(peers(worker.process.pid))
            assert worker.process.poll() is None, worker.said()
            return server.job(job).state.ended

        until(over, within=LONG)
        found = said(server, server.wait(job))
        (shown,) = server.server.client.get("/api/v1/workers").json()["workers"]

    assert found == expected
    assert len(expected) > len(images)
    assert (shown["id"], shown["software"], shown["client"]) == ("afar", "limner", "by the broker")
    assert pika.URLParameters(url.partition("?")[0]).port in seen
    assert int(server.server.url.rpartition(":")[2]) not in seen


class Jobs:
    """Several small jobs, so that several tasks wait for one worker."""

    def __init__(self, trap: Trap, pictures: PictureServer, frames: Sequence[TrapFrame]) -> None:
        self._trap = trap
        self._jobs = [
            trap.submit(
                [{"id": f"{job}-{frame.name}", "url": pictures.url(frame.name)} for frame in frames[:2]],
                [DETECT, CLASSIFY],
            )
            for job in range(_JOBS)
        ]

    def done(self, count: int) -> bool:
        """Whether so many records are done."""
        return sum(self._trap.counts(job).done for job in self._jobs) >= count

    def end_exactly(self) -> None:
        """Wait for all; each record is done, once, and none was charged for what became of the queues."""
        for job in self._jobs:
            self._trap.wait(job, within=LONG)
            counts = self._trap.counts(job)
            assert (counts.records, counts.done, counts.failed) == (2, 2, 0)
        with self._trap.host.store.reading() as tx:
            assert tx.connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar() == 0


@pytest.mark.timeout(240)
def test_purged_queues_lose_nothing(
    by_broker: Callable[..., Trap], pictures: PictureServer, small_night: list[TrapFrame], url: str, tmp_path: Path
) -> None:
    """Every queue is emptied, before and in the middle of the work: it ends, exactly."""
    server, place = by_broker(url), place_of(url)
    topics = ("antenna.detect/blobs", "antenna.classify/size-shape", "answers", "workers")

    def purge() -> int:
        with pika.BlockingConnection(pika.URLParameters(place.url)) as plain:
            channel = plain.channel()
            return sum(int(channel.queue_purge(place.queue(topic)).method.message_count) for topic in topics)

    with WorkerProcess(tmp_path / "w", url) as worker:
        worker.serves()
        worker.send(signal.SIGSTOP)
        jobs = Jobs(server, pictures, small_night)
        until(lambda: server.host.app.bus.count(topics[0]) > 1)
        assert purge() > 1
        worker.send(signal.SIGCONT)
        until(lambda: jobs.done(4), within=LONG)
        purge()
        jobs.end_exactly()


@pytest.mark.timeout(240)
@pytest.mark.chaos_full
def test_a_restarted_broker_loses_nothing(
    by_broker: Callable[..., Trap],
    pictures: PictureServer,
    small_night: list[TrapFrame],
    require_service: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """The broker goes away in the middle of the work, and comes back: server and worker go on by themselves."""
    require_service("rabbitmq")
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder)
    broker.start()
    try:
        server = by_broker(broker.url)
        with WorkerProcess(tmp_path / "w", broker.url) as worker:
            worker.serves()
            jobs = Jobs(server, pictures, small_night)
            until(lambda: jobs.done(2), within=LONG)
            broker.stop()
            assert not jobs.done(2 * _JOBS)
            broker.start()
            jobs.end_exactly()
            assert worker.process.poll() is None
    finally:
        broker.close()
