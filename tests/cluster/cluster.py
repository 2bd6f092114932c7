"""Two servers and three workers on one PostgreSQL and one broker, all real processes."""

import hashlib
import json
import random
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import httpx

from limner.domain.jobs import JobState
from tests.cluster.hardware import Link, SetClock
from tests.cluster.places import Places
from tests.cluster.project import INFERRERS, PICTURED, write_project
from tests.cluster.servers import ServerProcess, leader_of
from tests.cluster.watch import Eye
from tests.far.workers import WorkerProcess
from tests.waiting import until

#: Nothing that is waited for takes longer.
LONG = timedelta(minutes=5)
_SERVERS, _WORKERS = 2, 3
#: The worker that lives behind the link, where there is one.
BEHIND_THE_LINK = _WORKERS - 1
#: Records in one request.
_PART = 5000


class Cluster:
    """Servers and workers over *places*; entered, they work until the block ends."""

    def __init__(
        self,
        folder: Path,
        places: Places,
        *,
        pace: float,
        link: bool = False,
        clocks: bool = False,
        lease: float,
    ) -> None:
        """*link*: one of the workers lives in a network of its own; *clocks*: those of all processes can be set."""
        self.places = places
        self.pace = pace
        self._folder = folder
        self._stack = ExitStack()
        self.link: Link | None = None
        self._linked = link
        project = write_project(folder / "project", places.settings(lease=lease))
        #: Of servers and workers.
        self.clocks = [SetClock(folder / f"clock{n}") for n in range(_SERVERS + _WORKERS)] if clocks else []
        self.servers = [ServerProcess(project, self._environment(n)) for n in range(_SERVERS)]
        self.workers: list[WorkerProcess] = []
        self.job = ""
        self._eye = Eye(places.store)
        self._made = 0

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            if self._linked:
                self.link = Link(self.places.bus.port)
                stack.callback(self.link.close)
            stack.callback(self._end)
            for server in self.servers:
                server.start()
                # One after the other, so that they do not both make the tables.
                until(server.ready, within=LONG)
            self.workers = [self.new_worker(place) for place in range(_WORKERS)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        for worker in self.workers:
            worker.kill()
        for server in self.servers:
            server.kill()
        self._eye.close()

    def new_worker(self, place: int) -> WorkerProcess:
        """A worker that nobody knows, at the place of another one: in its network, and by its clock."""
        self._made += 1
        folder = self._folder / f"w{self._made}"
        worker = WorkerProcess(
            folder,
            self.places.bus.url,
            "--name",
            folder.name,
            inferrers=INFERRERS,
            environment=self._environment(_SERVERS + place),
            prefix=self.link.prefix if self.link is not None and place == BEHIND_THE_LINK else (),
            pace=self.pace,
        )
        return worker.__enter__()

    def replace_worker(self, place: int) -> None:
        """Kill a worker, and have another one in its place."""
        self.workers[place].kill()
        self.workers[place] = self.new_worker(place)

    def any_worker(self, dice: random.Random) -> int:
        """The place of one of the workers."""
        return dice.randrange(_WORKERS)

    def leader(self) -> int:
        """Which server leads, once one does."""
        found: list[int] = []

        def leads() -> bool:
            one = leader_of(self.servers, store=self.places.store)
            found.extend([] if one is None else [one])
            return bool(found)

        until(leads, within=LONG)
        return found[0]

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
        self.job = str(answer.json()["id"])
        return self.job

    def calm(self) -> None:
        """Let everything be inferred at once from now on."""
        self._go_at(0.0)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Let records be inferred ten times as fast while the block runs: what waits for its turn comes to an end."""
        before = self.pace
        self._go_at(before / 10)
        yield
        self._go_at(before)

    def _go_at(self, pace: float) -> None:
        self.pace = pace
        for worker in self.workers:
            # It is read at any moment, and must never be found empty.
            new = worker.folder / "new-pace"
            new.write_text(str(pace))
            new.replace(worker.folder / "pace")

    def at_work(self) -> bool:
        """Whether the job has not ended."""
        return not self._eye.state(self.job).ended

    def ended(self) -> JobState:
        """The state of the job, once it has ended; many records take a while."""
        until(lambda: not self.at_work(), within=3 * LONG)
        return self._eye.state(self.job)

    def goes_on(self) -> None:
        """Wait for a new result."""
        before = self._eye.results()
        until(lambda: self._eye.results() > before >= 0 or not self.at_work(), within=LONG)

    @contextmanager
    def until_the_next_result(self) -> Iterator[list[float]]:
        """Note the seconds from the beginning of the block to the next result, or to the end of the job."""
        waits: list[float] = []
        before, began = self._eye.results(), time.monotonic()
        yield waits
        until(lambda: self._eye.results() > before or not self.at_work(), within=LONG)
        waits.append(round(time.monotonic() - began, 1))

    def gone(self, tasks: Collection[int]) -> bool:
        """Whether all these tasks have ended, or were dropped for others."""
        return not self._eye.read(lambda tx: tx.tasks.load(tasks))

    def check_artifacts(self, records: int) -> None:
        """Fail where a file that was inferred is not there, or is another one."""
        for digits in (b"%d" % n for n in range(0, records, PICTURED)):
            name = hashlib.sha256(digits).hexdigest()
            file = self.places.files / name[:2] / name[2:4] / name
            assert file.is_file(), f"the file of {digits!r} was lost"
            assert file.read_bytes() == digits, f"the file of {digits!r} is another one"

    def _environment(self, clock: int) -> Mapping[str, str]:
        mine = self.clocks[clock].environment if self.clocks else {}
        return {**self.places.environment, **mine}
