"""Real processes over one project: a server, workers, a client, a reader; and what a storm does to them."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import httpx

from tests.far.workers import WorkerProcess
from tests.processes import clean_environment, kill, start
from tests.systems.antenna.chaos.project import INFERRERS, Looks, Place, write_project
from tests.waiting import until
from tools.services import free_port

#: Nothing that is waited for in a storm takes longer.
LONG = timedelta(seconds=120)
SEED = int(os.environ.get("CHAOS_SEED", "1"))
_READER = Path(__file__).parents[3] / "faults" / "reader.py"


class ServerProcess:
    """``limner serve`` that infers nothing itself; may be killed and started again at the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may be reached when this returns."""
        command = [sys.executable, "-m", "limner.cli.main", "serve", "--port", str(self.port), "--workers", "0"]
        said = self.folder / "printed.txt"
        process = self._process = start(command, folder=self.folder, said=said, environment=clean_environment())
        until(lambda: process.poll() is not None or self._answers(), within=LONG)
        assert process.poll() is None, (self.folder / "printed.txt").read_text()

    def peak_mb(self) -> int:
        """The most memory that it held, in megabytes, its children left out."""
        assert self._process is not None
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:"))

    def kill(self) -> None:
        """End it as a loss of power would."""
        if self._process is not None:
            kill(self._process)

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(LONG.total_seconds())

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


class Reader:
    """A process that reads the store all the while, and notes every read that does not add up, or falls back."""

    def __init__(self, looks: Looks) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_READER), str(looks.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def told(self) -> dict[str, object]:
        """How many reads there were, and what was wrong in them; ends it."""
        found: dict[str, object] = json.loads(self._process.communicate("", LONG.total_seconds())[0])
        return found

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Client(threading.Thread):
    """Submits jobs with keys, each until it was told that it is taken; repeats what it was not answered."""

    def __init__(self, url: str, bodies: Mapping[str, bytes]) -> None:
        super().__init__(name="client", daemon=True)
        self._url = url
        self._bodies = bodies
        #: By key: the ids that the server named, each time that it said yes.
        self.jobs: dict[str, set[str]] = {key: set() for key in bodies}

    def run(self) -> None:
        """Submit, and then everything once more: a repeated request makes no other job."""
        for _ in range(2):
            for key, body in self._bodies.items():
                self.jobs[key].add(self._submitted(key, body))

    def _submitted(self, key: str, body: bytes) -> str:
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        ends = time.monotonic() + LONG.total_seconds()
        while time.monotonic() < ends:
            try:
                answer = httpx.post(f"{self._url}/api/v1/jobs", content=body, headers=headers, timeout=20)
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            if answer.is_success:
                return str(answer.json()["id"])
            assert answer.status_code >= 500, answer.text
        raise AssertionError(f"no server took {key} in {LONG}")


class Act(NamedTuple):
    """One thing that a storm does, once so many results more are there, and a moment later."""

    results: int
    moment: float
    what: str
    #: Which worker, where it is done to one.
    who: int


def schedule(seed: int, *, acts: Sequence[str], workers: int, results: int) -> list[Act]:
    """The acts in an order and at moments that the seed says; the same for the same seed."""
    dice = random.Random(seed)
    order = list(acts)
    dice.shuffle(order)
    most = max(2, results // (len(order) + 1))
    return [Act(dice.randrange(1, most), dice.uniform(0, 0.3), what, dice.randrange(workers)) for what in order]


class Storm:
    """A server with workers and a reader beside it; entered, they work until the block ends."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        lease: float = 2.0,
        timeout: float = 20.0,
        pace: float = 0.0,
        project: Callable[[Path], Path] | None = None,
    ) -> None:
        """*project* makes the project in a folder, in place of the one of plain numbers."""
        self.folder = folder
        make = project or partial(write_project, lease=lease, timeout=timeout)
        self.server = ServerProcess(make(folder / "project"))
        self.looks = Looks(self.server.folder)
        #: Where workers look for the server; a test may put a proxy there before it enters.
        self.url = self.server.url
        self.pace = pace
        self._count = workers
        self.workers: list[WorkerProcess] = []
        self._made = 0
        #: Seconds from each disturbance to the next new result.
        self.waits: list[float] = []

    def __enter__(self) -> Self:
        self.server.start()
        self._reader: Reader | None = Reader(self.looks)
        self.workers = [self.worker() for _ in range(self._count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.kill()
        self.server.kill()
        if self._reader is not None:
            self._reader.kill()

    def worker(self, *options: str) -> WorkerProcess:
        """One more worker process."""
        self._made += 1
        place = self.folder / f"w{self._made}"
        made = WorkerProcess(place, self.url, "--name", place.name, *options, inferrers=INFERRERS, pace=self.pace)
        return made.__enter__()

    def calm(self) -> None:
        """Let everything be inferred at once from now on."""
        self.pace = 0.0
        for worker in self.workers:
            (worker.folder / "pace").write_text("0")

    # What happens to it

    def rage(self, acts: Sequence[Act]) -> None:
        """Do what the schedule says, each act after so many results more, or once nothing moves any more."""
        for act in acts:
            self._after(act.results)
            # Any moment will do, so the seed names it.
            time.sleep(act.moment)
            with self.noting():
                getattr(self, act.what)(act.who)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note how long it takes from the beginning of the block to the next result, if there is any more to come."""
        before, began = self.looks.count("results"), time.monotonic()
        yield
        until(lambda: self.looks.count("results") > before or not self.looks.open_tasks(), within=LONG)
        self.waits.append(round(time.monotonic() - began, 2))

    def kill_server(self, _: int) -> None:
        """Kill the server, and start it again."""
        self.server.kill()
        self.server.start()

    def kill_worker(self, who: int) -> None:
        """Kill a worker, and start another one."""
        self.workers[who].kill()
        self.workers[who] = self.worker()

    def stop_worker(self, who: int) -> None:
        """Ask a worker to stop, which it does in good order, and start another one."""
        worker = self.workers[who]
        self.workers[who] = self.worker()
        worker.serves()
        worker.send(signal.SIGTERM)
        assert worker.process.wait(LONG.total_seconds()) == 0, worker.said()

    def freeze_worker(self, who: int) -> None:
        """Let a worker stand still until all that it held was given to somebody else, and go on."""
        worker = self.workers[who]
        os.killpg(worker.process.pid, signal.SIGSTOP)
        held = f"tasks WHERE state = 1 AND worker = '{worker.folder.name}'"
        try:
            until(lambda: not self.looks.count(held), within=LONG)
        finally:
            os.killpg(worker.process.pid, signal.SIGCONT)

    def _after(self, results: int) -> None:
        goal = self.looks.count("results") + results
        still = time.monotonic()
        most = self.looks.count("results")
        while most < goal and time.monotonic() - still < 5.0:
            now = self.looks.count("results")
            if now > most:
                most, still = now, time.monotonic()
            time.sleep(0.01)

    # What must be true in the end

    def ended(self, jobs: Sequence[str]) -> None:
        """Wait until every job has ended."""
        at_work = ("running", "cancelling", "waiting")
        until(lambda: all(self.looks.job(job).state not in at_work for job in jobs), within=LONG)

    def sound(self) -> None:
        """Nothing is open, nothing is there twice, no read on the way was wrong."""
        assert self.looks.open_tasks() == 0
        assert self.looks.whole()
        if self._reader is not None:
            told = self._reader.told()
            self._reader = None
            assert told["wrong"] == []
            assert int(str(told["reads"])) > 20


def undisturbed(folder: Path, numbers: Sequence[int]) -> dict[Place, tuple[int, bytes]]:
    """What is inferred of these frames where nothing goes wrong."""
    write_project(folder, lease=60.0)
    (folder / "pace").write_text("0")
    (folder / "frames.jsonl").write_text("".join(json.dumps({"id": f"f{n}", "n": n}) + "\n" for n in numbers))
    command = [sys.executable, "-m", "limner.cli.main", "run", "storm", "frames.jsonl"]
    with (folder / "printed.txt").open("ab") as printed:
        subprocess.run(command, cwd=folder, stdout=printed, stderr=printed, timeout=LONG.total_seconds(), check=False)
    return Looks(folder).results()
