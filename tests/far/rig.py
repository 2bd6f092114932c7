"""A real server with real projects on a free port, whose work only far workers do."""

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import uvicorn
from fastapi import FastAPI

from limner.api import problems, work
from limner.api.auth import Auth
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.app.submitting import Submission
from limner.domain.jobs import Counts, Job
from limner.domain.records import RecordIn
from limner.domain.values import Value, decode
from limner.server_client import ServerClient
from limner.settings import load_project

#: Nothing that a test waits for takes longer.
LONG = timedelta(seconds=30)

PIPELINE = """
from datetime import timedelta

from limner import Implementation, Number, Pipeline, RetryPolicy, Stage, file

pipeline = Pipeline("far", collection="things", standing=False, stages=[
    Stage("double", infer="inferrers:Double", reads={"number": "number"}, outputs={"value": Number()},
          batch=4, task_size=8, timeout=timedelta(seconds=20)),
])
"""
INFERRERS = """
class Double:
    version = "1"

    def infer(self, number: list[int]) -> list[dict]:
        return [{"value": 2 * one} for one in number]
"""


def until(true: Callable[[], object], *, within: timedelta = LONG) -> None:
    """Wait for what another thread or process does; fail where it does not."""
    ends = time.monotonic() + within.total_seconds()
    while not true():
        assert time.monotonic() < ends, "what was waited for did not happen"
        # The pace of polling, nothing more.
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server in this process; entered, it serves until the block ends."""

    def __init__(
        self,
        folder: Path,
        *,
        pipeline: str = PIPELINE,
        inferrers: str = INFERRERS,
        settings: str = "lease = 5.0\nallow_hosts = ['127.0.0.1']\n",
        port: int = 0,
        own_workers: bool = False,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pipeline.py").write_text(pipeline)
        (folder / "inferrers.py").write_text(inferrers)
        (folder / "limner.toml").write_text(settings)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.projects = Projects(load_project(folder, environment={}), own_workers=own_workers)
        app = FastAPI()
        problems.install(app)
        app.state.auth = Auth(self.projects, online=lambda host: None)  # type: ignore[arg-type,return-value]  # not asked here
        app.include_router(work.router(self.projects))
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="server", daemon=True)

    def __enter__(self) -> Self:
        self.projects.start()
        self._thread.start()
        until(lambda: self._server.started)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)
        self.projects.stop(timedelta(seconds=5))

    @property
    def host(self) -> Host:
        """The project `default`."""
        return self.projects.host("default")

    def client(self, *, token: str | None = None) -> ServerClient:
        """A worker's side of the wire."""
        return ServerClient(self.url, token=token)

    def post(self, path: str, body: object, *, token: str | None = None, **headers: str) -> httpx.Response:
        """What a plain client is answered to JSON."""
        said = dict(headers) | ({"Authorization": f"Bearer {token}"} if token else {})
        return httpx.post(f"{self.url}/api/v1/{path}", json=body, headers=said, timeout=60)

    def get(self, path: str, *, token: str | None = None, **headers: str) -> httpx.Response:
        """What a plain client is answered."""
        said = dict(headers) | ({"Authorization": f"Bearer {token}"} if token else {})
        return httpx.get(f"{self.url}/api/v1/{path}", headers=said, timeout=60)

    def submit(
        self,
        fields: Sequence[Mapping[str, Value]],
        *,
        pipeline: str = "far",
        collection: str = "things",
        choices: Mapping[str, Sequence[str]] | None = None,
    ) -> Job:
        """A job over new records, called r0, r1, …"""
        rows = [RecordIn(collection=collection, id=f"r{at}", fields=dict(one)) for at, one in enumerate(fields)]
        return self.host.submit(Submission(pipeline=pipeline, rows=rows, choices=choices or {}))

    def job(self, job: Job) -> Job:
        """The job as it stands."""
        with self.host.store.reading() as tx:
            return tx.jobs.get(job.id)

    def counts(self, job: Job) -> Counts:
        """What became of a job's records."""
        with self.host.store.reading() as tx:
            return tx.ledger.counts(job.id)

    def wait(self, job: Job, *, within: timedelta = LONG) -> str:
        """How a job ended."""
        until(lambda: self.job(job).state.ended, within=within)
        return self.job(job).state.value

    def values(self, stage: str, *, pipeline: str = "far", collection: str = "things") -> dict[str, Value]:
        """What a stage says of each record, by id."""
        with self.host.store.reading() as tx:
            held = tx.records.find_collection(collection) or 0
            keys = tx.records.page(held, after=0, limit=100_000)
            records = tx.records.load(keys)
            found: dict[str, Value] = {}
            for node in tx.nodes.of(pipeline):
                if node.stage == stage and node.active is not None:
                    values = tx.results.values(keys, node=node.pk, version=node.active)
                    found |= {records[key].id: decode(value) for key, value in values.items()}
        return found


HELLO = {
    "worker_id": "w1",
    "hostname": "node7",
    "serves": [{"stage": "double", "implementation": "default", "version": {"code": "1"}}],
}
SERVES = [{"stage": "double", "implementation": "default"}]
