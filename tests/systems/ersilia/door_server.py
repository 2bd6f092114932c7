"""A server with the doors of the system over a project in a folder, and tokens for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limner.app.tokens import Tokens
from limner.settings import load_project
from limner.testing.local_server import LocalServer

EMPTY = """\
from limner import Pipeline, Stage, Text

words = Pipeline(
    "words",
    collection="words",
    standing=False,
    stages=[Stage("shout", infer="builtins:str", reads={"text": "text"}, outputs={"loud": Text()})],
)
"""
MOLECULES = """\
from limner.systems.ersilia.pipeline import molecules_pipeline

molecules = molecules_pipeline()
"""


def write_project(folder: Path, *, pipeline: str = EMPTY) -> Path:
    """A project for tests that look up only."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.py").write_text(pipeline, encoding="utf-8")
    return folder


@contextmanager
def serving(folder: Path, **options: object) -> Iterator[LocalServer]:
    """The project in *folder* with this system's routes, until the block ends."""
    settings = {"facades": ["ersilia"], "parallel": 1, **options}
    with LocalServer(load_project(folder, environment={}, options=settings)) as server:
        yield server


def token(server: LocalServer, *scopes: str) -> str:
    """A new token; from then on nobody does without."""
    root = server.projects.root
    return Tokens(root.store, root.clock).create("", scopes=scopes).token
