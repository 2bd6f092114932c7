"""Two servers and three workers on one PostgreSQL and one broker, all real processes, and what is done to them."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import httpx

from limner.domain.jobs import Counts, JobState
from limner.errors import StoreUnavailable
from limner.store.connect import connect_store
from tests.cluster.places import Places
from tests.cluster.project import INFERRERS, write_project
from tests.far.workers import WorkerProcess
from tests.waiting import until
from tools.services import free_port

#: Nothing that is waited for takes longer.
LONG = timedelta(minutes=5)
_SERVERS, _WORKERS = 2, 3
#: Records in one request.
_PART = 500


class ServerProcess:
    """``limner serve`` that infers nothing itself; killed and started again at the same port."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LIMNER_", "AWS_"))}
        self._environment = clean | environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may not be ready when this returns."""
        command = [sys.executable, "-m", "limner.cli.main", "serve", "--port", str(self._port), "--workers", "0"]
        with (self._folder / f"printed-{self._port}.txt").open("ab") as printed:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it as a loss of power would."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ready(self) -> bool:
        """Whether it takes requests; fails where it has ended by itself."""
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / f"printed-{self._port}.txt").read_text()[-3000:]
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False


class Watch(threading.Thread):
    """Reads a job's counts all the while, and notes every read that does not add up, or that falls back."""

    def __init__(self, store: str, job: str, *, records: int) -> None:
        super().__init__(name="watch", daemon=True)
        self._store, self._job, self._records = store, job, records
        self._over = threading.Event()
        self.reads = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        """Read until told to stop; a store that is away is asked again."""
        ended, known = 0, 0
        while not self._over.wait(0.05):
            with suppress(StoreUnavailable):
                counts = counts_of(self._store, self._job)
                self.reads += 1
                # A job of many records is taken in little by little.
                if not known <= counts.records <= self._records or counts.records - counts.open < ended:
                    self.wrong.append(f"{counts} after {ended} of {known} had ended")
                ended, known = counts.records - counts.open, counts.records

    def stop(self) -> None:
        """Read no more."""
        self._over.set()
        self.join()


def counts_of(store: str, job: str) -> Counts:
    """A job's counts, of one moment."""
    opened = connect_store(store)
    try:
        with opened.reading() as tx:
            return tx.ledger.counts(job)
    finally:
        opened.close()


class Cluster:
    """Servers and workers over *places*; entered, they work until the block ends."""

    def __init__(self, folder: Path, places: Places, *, pace: float, lease: float = 3.0) -> None:
        self.places = places
        self._folder = folder
        self._pace = pace
        project = write_project(folder / "project", places.settings(lease=lease))
        self.servers = [ServerProcess(project, places.environment) for _ in range(_SERVERS)]
        self.workers: list[WorkerProcess] = []
        self._made = 0

    def __enter__(self) -> "Cluster":
        for server in self.servers:
            server.start()
            # One after the other, so that they do not both make the tables.
            until(server.ready, within=LONG)
        self.workers = [self._worker() for _ in range(_WORKERS)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
        for server in self.servers:
            server.kill()

    def submit(self, records: int) -> str:
        """A job over so many records, each known to the store when this returns."""
        client = httpx.Client(base_url=self.servers[0].url, timeout=60)
        rows = [{"id": f"n{n}", "n": n} for n in range(records)]
        for start in range(0, records, _PART):
            lines = "".join(json.dumps(row) + "\n" for row in rows[start : start + _PART])
            answer = client.put("/api/v1/collections/numbers/records", content=lines)
            assert answer.is_success, answer.text
        answer = client.post("/api/v1/jobs", json={"pipeline": "numbers", "ids": [row["id"] for row in rows]})
        assert answer.is_success, answer.text
        client.close()
        return str(answer.json()["id"])

    def calm(self) -> None:
        """Let everything be inferred at once from now on."""
        self._pace = 0.0
        for worker in self.workers:
            (worker.folder / "pace").write_text("0")

    def results(self) -> int:
        """How many results there are; none are counted while the store is away."""
        with suppress(StoreUnavailable):
            opened = connect_store(self.places.store)
            try:
                with opened.reading() as tx:
                    return int(tx.connection.exec_driver_sql("SELECT count(*) FROM results").scalar_one())
            finally:
                opened.close()
        return -1

    def state(self, job: str) -> JobState:
        """How a job stands; as at work while the store is away."""
        with suppress(StoreUnavailable):
            opened = connect_store(self.places.store)
            try:
                with opened.reading() as tx:
                    return tx.jobs.get(job).state
            finally:
                opened.close()
        return JobState.RUNNING

    def ended(self, job: str) -> JobState:
        """The state of a job, once it has ended."""
        until(lambda: self.state(job).ended, within=LONG)
        return self.state(job)

    @contextmanager
    def until_the_next_result(self, job: str, waits: list[float]) -> Iterator[None]:
        """Note how long it takes from the beginning of the block to the next result, or to the end of the job."""
        before, began = self.results(), time.monotonic()
        yield
        until(lambda: self.results() > before or self.state(job).ended, within=LONG)
        waits.append(round(time.monotonic() - began, 1))

    # What is done to it

    def kill_worker(self, dice: random.Random, _pause: float) -> None:
        """A worker is killed, and another one comes."""
        who = dice.randrange(_WORKERS)
        self.workers[who].kill()
        self.workers[who] = self._worker()

    def kill_server(self, dice: random.Random, _pause: float) -> None:
        """A server is killed, whether it leads or not, and starts again."""
        server = dice.choice(self.servers)
        server.kill()
        server.start()

    def kill_servers(self, _dice: random.Random, _pause: float) -> None:
        """All servers are killed, and start again."""
        for server in self.servers:
            server.kill()
        for server in self.servers:
            server.start()

    def purge_queues(self, _dice: random.Random, _pause: float) -> None:
        """Everything that is on the bus is lost."""
        self.places.bus.purge()

    def repeat_messages(self, _dice: random.Random, _pause: float) -> None:
        """Tasks come twice, and late."""
        self.places.bus.repeat()

    def kill_bus(self, _dice: random.Random, _pause: float) -> None:
        """The broker is killed, and starts again at once."""
        self.places.bus.kill()
        self.places.bus.start()

    def stop_bus(self, _dice: random.Random, pause: float) -> None:
        """The broker is away for a while."""
        self.places.bus.stop()
        time.sleep(pause)
        self.places.bus.start()

    def kill_store(self, _dice: random.Random, _pause: float) -> None:
        """PostgreSQL is killed, and starts again at once."""
        self.places.postgresql.kill()
        self.places.postgresql.start()

    def stop_artifacts(self, _dice: random.Random, pause: float) -> None:
        """The object store is away for a while."""
        if self.places.s3 is not None:
            self.places.s3.kill()
            time.sleep(pause)
            self.places.s3.start()

    def freeze_worker(self, dice: random.Random, pause: float) -> None:
        """A worker stands still for longer than its lease, and goes on with what others have done by then."""
        worker = self.workers[dice.randrange(_WORKERS)]
        os.killpg(worker.process.pid, signal.SIGSTOP)
        time.sleep(pause)
        os.killpg(worker.process.pid, signal.SIGCONT)

    def _worker(self) -> WorkerProcess:
        self._made += 1
        place = self._folder / f"w{self._made}"
        worker = WorkerProcess(
            place,
            self.places.bus.url,
            "--name",
            place.name,
            inferrers=INFERRERS,
            environment=self.places.environment,
            pace=self._pace,
        )
        return worker.__enter__()


BLOWS: Sequence[str] = (
    "kill_worker",
    "freeze_worker",
    "kill_server",
    "kill_servers",
    "purge_queues",
    "repeat_messages",
    "kill_bus",
    "stop_bus",
    "kill_store",
    "stop_artifacts",
)
