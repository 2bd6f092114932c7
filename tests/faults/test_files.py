"""What a worker fetched and what an inferrer made lie about no longer than they are used."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.faults.project import Project
from tests.waiting import until

PIPELINE = """
from limner import Artifact, Pipeline, Stage, file

pipeline = Pipeline("files", collection="things", stages=[
    Stage("copy", infer="work:copy", reads={"n": "n", "path": file("url")}, batch=4, task_size=8,
          outputs={"copy": Artifact()}),
])
"""

INFERRERS = '''
"""An inferrer that makes a file of a file, and leaves another one behind."""

import os
import tempfile
import time
from pathlib import Path

os.write(os.open("pids.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT), f"{os.getpid()}\\n".encode())


def copy(n: int, path: Path) -> dict:
    time.sleep(float(Path("pace").read_text()))
    tempfile.mkstemp(prefix="forgotten")
    made = Path(tempfile.mkdtemp()) / "made.bin"
    made.write_bytes(path.read_bytes() * 2)
    with open("calls.log", "a") as log:
        log.write(f"copy {n}\\n")
    if n % 10 == 7 and Path("cause").exists():
        os._exit(1)
    return {"copy": made}
'''

FILES = 40


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and prints nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Address of a server of small files."""
    folder = tmp_path / "served"
    folder.mkdir()
    for n in range(FILES):
        (folder / f"{n}.bin").write_bytes(f"file {n}".encode() * 100)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path, address: str) -> Project:
    """A project that fetches files from *address* and makes others of them."""
    settings = f'allow_hosts = ["{address.removeprefix("http://")}"]\n'
    made = Project(tmp_path / "project", pipeline=PIPELINE, inferrers=INFERRERS, settings=settings)
    made.fill("in.jsonl", ({"id": f"r{n}", "n": n, "url": f"{address}/{n}.bin"} for n in range(FILES)))
    return made


def copies(project: Project) -> set[str]:
    """Digests of the files that stand in the artifacts."""
    return {path.name for path in (project.folder / ".limner/artifacts").glob("*/*/*")}


def expected() -> set[str]:
    """Digests of the files that the inferrer makes."""
    return {hashlib.sha256(f"file {n}".encode() * 200).hexdigest() for n in range(FILES)}


@pytest.mark.slow
def test_nothing_is_left_after_a_run_that_went_well(project: Project) -> None:
    """What was fetched is gone, what was made stands in the artifacts, and what was forgotten went with its process."""
    # when
    status = project.limner("run", "files", "in.jsonl")

    # then
    assert status == 0, project.printed()
    assert copies(project) == expected()
    assert project.leftovers() == []


@pytest.mark.slow
def test_nothing_is_left_after_a_run_with_failures(project: Project) -> None:
    """Records whose process dies leave no file either."""
    # given
    (project.folder / "cause").touch()

    # when
    status = project.limner("run", "files", "in.jsonl")

    # then
    assert status == 1
    assert project.jobs()[0][2] == {"open": 0, "done": 36, "failed": 4, "skipped": 0, "cancelled": 0}
    assert len(copies(project)) == 36
    assert project.leftovers() == []


@pytest.mark.slow
def test_what_a_killed_run_left_goes_with_the_next_one(project: Project) -> None:
    """A run that is killed with files in hand cannot clean up; the next one does, and ends with every file."""
    # given
    project.pace(0.05)
    run = project.start("run", "files", "in.jsonl")
    until(lambda: project.logged() > 20, during=run)

    # when
    assert project.kill(run), project.printed()
    until(lambda: not project.children())
    left = project.leftovers()
    project.pace(0)
    status = project.limner("run", "files", "in.jsonl")

    # then
    assert left, "otherwise this test shows nothing"
    assert status == 0
    assert copies(project) == expected()
    assert project.leftovers() == []
