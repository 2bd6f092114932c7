"""A real server over a project in a folder, on a free port of this machine, for tests that ask over HTTP."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import uvicorn
from msgspec import structs

from limner.api.app import create
from limner.api.serving import KEEP_ALIVE, listen
from limner.app.projects import Projects
from limner.app.tokens import Tokens
from limner.clock import Clock
from limner.settings import load_project
from tests.waiting import until

INFERRERS = """
from pathlib import Path

HERE = Path(__file__).parent


class Shout:
    version = "1"

    def infer(self, text: list[str]) -> list:
        with (HERE / "calls").open("a") as calls:
            calls.write("".join(f"{word}\\n" for word in text))
        broken = (HERE / "broken").read_text().split() if (HERE / "broken").exists() else []
        return [ValueError(f"{word} is broken") if word in broken else {"loud": word.upper()} for word in text]


def letters(loud: str) -> list:
    return [{"letter": letter} for letter in dict.fromkeys(loud)]


def code(letter: str) -> dict:
    if letter == "!":
        raise ValueError("no letter")
    return {"value": ord(letter)}


def weigh(data: bytes) -> dict:
    import numpy as np

    counts = np.bincount(np.frombuffer(data, dtype=np.uint8) % 4, minlength=4).astype(np.float32) + 1
    return {"size": len(data), "vector": counts / np.linalg.norm(counts)}
"""
PIPELINES = """
from limner import Implementation, Index, Number, Pipeline, Stage, Text, Vector, file

words = Pipeline(
    "words",
    collection="words",
    stages=[
        Stage("shout", infer="inferrers:Shout", reads={"text": "text"}, outputs={"loud": Text()}, batch=16),
        Stage("letters", kind="expand", infer="inferrers:letters", reads={"loud": "shout.loud"}, of="letters",
              identity=["letter"]),
        Stage("code", infer="inferrers:code", over="letters", reads={"letter": "letter"},
              outputs={"value": Number(whole=True)}),
    ],
    index=Index(text=["text"], filters=["kind"]),
)
files = Pipeline(
    "files",
    collection="files",
    stages=[
        Stage("weigh", infer="inferrers:weigh", reads={"data": file("url", absent="no_file")},
              outputs={"size": Number(whole=True), "vector": Vector(length=4, unit=True)}, batch=16),
    ],
    index=Index(text=["title"], filters=["kind"], vectors=["weigh.vector"]),
)
far = Pipeline(
    "far",
    collection="far",
    standing=False,
    stages=[
        Stage("there", infer="external", reads={"text": "text"}, outputs={"loud": Text()}),
    ],
)
"""


class Served:
    """A server that is up, and a client of it."""

    def __init__(self, url: str, projects: Projects, folder: Path) -> None:
        self.url = url
        self.projects = projects
        self.folder = folder
        self.client = httpx.Client(base_url=url, timeout=30)

    def token(self, *scopes: str, project: str = "default") -> dict[str, str]:
        """Headers with a new token."""
        root = self.projects.root
        self.projects.make(project) if project != "*" else None
        made = Tokens(root.store, root.clock).create("", project=project, scopes=scopes)
        return {"authorization": f"Bearer {made.token}"}

    def put(self, collection: str, *rows: Mapping[str, object]) -> str:
        """Take records in, and wait for their job; its id."""
        answer = self.client.put(
            f"/api/v1/collections/{collection}/records",
            content=b"".join(httpx.Response(200, json=row).content + b"\n" for row in rows),
            headers={"content-type": "application/x-ndjson"},
        )
        assert answer.status_code == 202, answer.text
        return self.ended(answer.json()["job"])

    def ended(self, job: str) -> str:
        """*job*, once it has ended."""
        until(lambda: self.client.get(f"/api/v1/jobs/{job}").json()["ended"] is not None)
        return job

    def calls(self) -> list[str]:
        """What the inferrer `shout` was asked so far."""
        file = self.folder / "calls"
        return file.read_text().split() if file.exists() else []


def write_project(folder: Path) -> Path:
    """The project that most tests serve."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inferrers.py").write_text(INFERRERS, encoding="utf-8")
    (folder / "pipeline.py").write_text(PIPELINES, encoding="utf-8")
    return folder


@contextmanager
def serving(
    folder: Path,
    *,
    clock: Clock | None = None,
    public: bool = False,
    own_workers: bool = True,
    **settings: object,
) -> Iterator[Served]:
    """The project in *folder*, served until the block ends."""
    project = load_project(folder, environment={})
    project = structs.replace(project, settings=structs.replace(project.settings, **settings))
    projects = Projects(project, clock=clock, own_workers=own_workers)
    app = create(projects, public=public)
    projects.start()
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=1, timeout_keep_alive=KEEP_ALIVE
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    served = Served(f"http://127.0.0.1:{listening.getsockname()[1]}", projects, folder)
    try:
        until(lambda: server.started)
        yield served
    finally:
        served.client.close()
        server.should_exit = True
        thread.join(10)
        listening.close()
        projects.stop(timedelta(seconds=2))
