"""A real server with real projects on a free port, whose work only far workers do."""

import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import uvicorn

from limner.api.app import create
from limner.api.serving import KEEP_ALIVE
from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.app.submitting import Submission
from limner.domain.jobs import Counts, Job
from limner.domain.records import RecordIn
from limner.domain.values import Value, decode
from limner.server_client import ServerClient
from limner.settings import load_project
from tests.waiting import LONG, until
from tools.services import free_port

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
        self._batches = count(1)
        self._client = httpx.Client(timeout=60, limits=httpx.Limits(max_connections=None))
        self.url = f"http://127.0.0.1:{self.port}"
        self.projects = Projects(load_project(folder, environment={}), own_workers=own_workers)
        config = uvicorn.Config(
            create(self.projects),
            host="127.0.0.1",
            port=self.port,
            log_level="error",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=KEEP_ALIVE,
        )
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
        self._thread.join(10)
        self.projects.stop(timedelta(seconds=5))
        self._client.close()

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
        return self._client.post(f"{self.url}/api/v1/{path}", json=body, headers=said)

    def get(self, path: str, *, token: str | None = None, **headers: str) -> httpx.Response:
        """What a plain client is answered."""
        said = dict(headers) | ({"Authorization": f"Bearer {token}"} if token else {})
        return self._client.get(f"{self.url}/api/v1/{path}", headers=said)

    def head(self, path: str, *, token: str | None = None) -> httpx.Response:
        """What a plain client is answered, without the body."""
        said = {"Authorization": f"Bearer {token}"} if token else {}
        return self._client.head(f"{self.url}/api/v1/{path}", headers=said)

    def put(self, path: str, data: bytes, *, token: str | None = None) -> httpx.Response:
        """What a plain client is answered to bytes."""
        said = {"Authorization": f"Bearer {token}"} if token else {}
        return self._client.put(f"{self.url}/api/v1/{path}", content=data, headers=said)

    def submit(
        self,
        fields: Sequence[Mapping[str, Value]],
        *,
        pipeline: str = "far",
        collection: str = "things",
        choices: Mapping[str, Sequence[str]] | None = None,
    ) -> Job:
        """A job over records that are new with each call."""
        batch = next(self._batches)
        rows = [RecordIn(collection=collection, id=f"{batch}-r{at}", fields=dict(one)) for at, one in enumerate(fields)]
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

    def values(self, job: Job, *, stage: str = "double", implementation: str = "default") -> dict[str, Value]:
        """What a stage says of each record of a job: ``r0``, ``r1``, …"""
        with self.host.store.reading() as tx:
            keys = sorted(key for page in tx.ledger.pages(job.id) for key in page)
            records = tx.records.load(keys)
            found: dict[str, Value] = {}
            for node in tx.nodes.of(job.pipeline):
                if (node.stage, node.implementation) == (stage, implementation) and node.active is not None:
                    values = tx.results.values(keys, node=node.pk, version=node.active)
                    found |= {records[key].id.partition("-")[2]: decode(value) for key, value in values.items()}
        return found
