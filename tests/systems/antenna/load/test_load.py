"""The server under load: a small job beside a large one, many takers, and a job that takes eight days."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from limner.api.app import create
from limner.api.serving import KEEP_ALIVE, listen
from limner.app.projects import Projects
from limner.app.submitting import Submission
from limner.clock import Clock, MovedClock
from limner.domain.jobs import Counts, Job
from limner.domain.records import RecordIn
from limner.settings import load_project
from tests.waiting import until

PIPELINE = """
from limner import Implementation, Number, Pipeline, Stage

pipeline = Pipeline("far", collection="things", standing=False, stages=[
    Stage("double", implementations={{"outside": Implementation(infer="external")}}, reads={{"n": "n"}},
          outputs={{"x": Number()}}, batch={task_size}, task_size={task_size}),
])
"""
SERVES = [{"stage": "far.double", "implementation": "outside"}]


class Served:
    """A server that leaves all work to others."""

    def __init__(self, projects: Projects, url: str) -> None:
        self._projects = projects
        self.url = url

    def submit(self, name: str, count: int) -> Job:
        """A job of *count* new records."""
        rows = [RecordIn(collection="things", id=f"{name}-{n}", fields={"n": n}) for n in range(count)]
        return self._projects.host("default").submit(Submission(pipeline="far", rows=rows))

    def counts(self, job: Job) -> Counts:
        """What became of a job's records."""
        with self._projects.host("default").store.reading() as tx:
            return tx.ledger.counts(job.id)

    def ended(self, job: Job) -> bool:
        """Whether a job is over."""
        with self._projects.host("default").store.reading() as tx:
            return tx.jobs.get(job.id).state.ended


class Taker:
    """A worker in plain HTTP and JSON."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.handed: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self._url = f"{url}/api/v1"
        self._client = httpx.Client(timeout=60)
        self._say("workers:hello", serves=[{**SERVES[0], "version": {"code": "1"}}])

    def _say(self, path: str, **body: object) -> dict[str, Any]:
        answer = self._client.post(f"{self._url}/{path}", json={"worker_id": self.name, **body})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def turn(self, *, tasks: int = 1, wait: float = 1.0) -> int:
        """Take tasks and answer them; records that were answered."""
        answers = []
        for task in self._say("tasks:take", serves=SERVES, max_tasks=tasks, wait_s=wait)["tasks"]:
            self.handed.update(record["id"] for record in task["records"])
            results = [{"key": r["key"], "ok": True, "value": {"x": 2 * r["reads"]["n"]}} for r in task["records"]]
            answers.append({"task_id": task["task_id"], "token": task["lease"]["token"], "results": results})
        if answers:
            self.states.update(one["state"] for one in self._say("tasks:complete", answers=answers)["tasks"])
        return sum(len(answer["results"]) for answer in answers)

    def close(self) -> None:
        """Hang up."""
        self._client.close()


@contextmanager
def serving(folder: Path, *, task_size: int, clock: Clock | None = None) -> Iterator[Served]:
    """A server over a new project on a free port."""
    (folder / "pipeline.py").write_text(PIPELINE.format(task_size=task_size))
    projects = Projects(load_project(folder, environment={}), clock=clock, own_workers=False)
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        create(projects), log_config=None, timeout_graceful_shutdown=1, timeout_keep_alive=KEEP_ALIVE
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    projects.start()
    thread.start()
    until(lambda: server.started)
    try:
        yield Served(projects, f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
        projects.stop(timedelta(seconds=5))


def work(takers: list[Taker], *, over: threading.Event, tasks: int = 1) -> None:
    """Let every taker work at the same time until it is *over*."""

    def one(taker: Taker) -> None:
        while not over.is_set():
            taker.turn(tasks=tasks, wait=0.2)

    with ThreadPoolExecutor(len(takers)) as threads:
        list(threads.map(one, takers))
    for taker in takers:
        taker.close()


@pytest.mark.slow
def test_a28_a_small_job_does_not_wait_for_a_large_one(tmp_path: Path) -> None:
    """Ten records that come after five thousand are done within seconds, while most of the others are still open."""
    with serving(tmp_path, task_size=8) as served:
        # given
        large = served.submit("large", 5_000)
        takers = [Taker(served.url, f"w{n}") for n in range(2)]
        takers[0].turn(tasks=4, wait=10)

        # when
        small = served.submit("small", 10)
        over = threading.Event()
        working = threading.Thread(target=work, args=(takers,), kwargs={"over": over})
        working.start()
        try:
            until(lambda: served.ended(small))
            left = served.counts(large).open
        finally:
            over.set()
            working.join()

        # then
        assert served.counts(small).done == 10
        assert left > 2_500


@pytest.mark.slow
def test_a29_and_a45_fifty_takers_never_hold_the_same_record(tmp_path: Path) -> None:
    """Fifty workers take at the same time: each record is handed out once, answered once, and counted once."""
    with serving(tmp_path, task_size=8) as served:
        # given
        takers = [Taker(served.url, f"w{n}") for n in range(50)]
        job = served.submit("r", 4_000)
        over = threading.Event()
        working = threading.Thread(target=work, args=(takers,), kwargs={"over": over})

        # when
        working.start()
        try:
            until(lambda: served.ended(job), within=timedelta(seconds=90))
        finally:
            over.set()
            working.join()

        # then
        handed = sum((taker.handed for taker in takers), Counter[str]())
        states = sum((taker.states for taker in takers), Counter[str]())
        assert len(handed) == 4_000
        assert set(handed.values()) == {1}
        assert set(states) == {"committed"}
        counts = served.counts(job)
        assert (counts.records, counts.done, counts.open) == (4_000, 4_000, 0)


def test_a47_a_job_of_eight_days_loses_nothing(tmp_path: Path) -> None:
    """One task is done a day, for eight days by the clock: at their end all of it is done, once."""
    clock = MovedClock()
    with serving(tmp_path, task_size=2, clock=clock) as served:
        # given
        job = served.submit("r", 16)
        taker = Taker(served.url, "slow")

        # when
        for day in range(8):
            assert taker.turn(wait=10) == 2, f"day {day}"
            clock.move(timedelta(days=1))

        # then
        taker.close()
        until(lambda: served.ended(job))
        assert set(taker.handed.values()) == {1}
        assert taker.states == {"committed": 8}
        assert served.counts(job) == Counts(records=16, open=0, done=16, failed=0, skipped=0, cancelled=0)
