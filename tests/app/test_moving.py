"""A project moves from one database to another: nothing is lost, killed half-way it goes on, and work goes on there."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from limner.settings import load_project
from limner.store import moving
from limner.store.connect import connect_store
from limner.store.moving import Mover
from tests.cli.cases import Typed, limner, write_project
from tests.store.databases import schema_url
from tests.waiting import until

WORDS = [f"word-{number}" for number in range(40)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that was run once, on SQLite; one record failed, and one is set aside."""
    folder = write_project(tmp_path / "words", words=WORDS)
    (folder / "broken").write_text("word-7")
    assert typed(folder, "run", "words", "words.jsonl", "--json").status == 1
    return folder


@pytest.fixture
def url(require_service: Callable[[str], str]) -> Iterator[str]:
    """An empty schema of a PostgreSQL."""
    with schema_url(require_service("postgresql")) as made:
        yield made


def typed(folder: Path, *words: str) -> Typed:
    """Type a command; ``words.jsonl`` is the project's."""
    return limner(*(str(folder / word) if word == "words.jsonl" else word for word in words), project=folder)


def said(folder: Path, *words: str) -> Any:  # noqa: ANN401  whatever a test expects of a JSON document
    """The JSON document of a command."""
    return typed(folder, *words, "--json").document()


def test_everything_stands_in_the_new_store(project: Path, url: str) -> None:
    """Status, jobs, failures and where a value came from are the same there; the old store is as it was."""
    asked = [("status",), ("jobs",), ("failures",), ("why", "words", "w/word-1.txt")]
    before = [said(project, *words) for words in asked]

    moved = said(project, "migrate", "--to", url)

    assert [said(project, "--store", url, *words) for words in asked] == before
    assert [said(project, *words) for words in asked] == before
    assert moved["projects"][0]["tables"]["results"]["rows"] == len(WORDS)


def test_work_goes_on_in_the_new_store(project: Path, url: str) -> None:
    """What is current is not inferred again, and new records find numbers of their own."""
    typed(project, "migrate", "--to", url)
    with (project / "words.jsonl").open("a") as lines:
        lines.write(json.dumps({"id": "new", "text": "new", "version": 99}) + "\n")

    again = said(project, "--store", url, "run", "words", "words.jsonl")

    assert (again["records"], again["done"], again["inferred"]) == (len(WORDS) + 1, len(WORDS), 1)


def test_there_and_back_is_the_same(project: Path, url: str, tmp_path: Path) -> None:
    """What came from PostgreSQL to a new file of SQLite is what went there."""
    there = said(project, "migrate", "--to", url)
    back = said(project, "migrate", "--from", url, "--to", f"sqlite:///{tmp_path}/back.db")

    assert [one["tables"] for one in back["projects"]] == [one["tables"] for one in there["projects"]]


def test_a_move_that_was_killed_goes_on(project: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two pages, and asked for again, it ends with everything there once."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    code = (
        "import limner.store.moving as moving, limner.cli.main as cli; moving.PAGE = 2; "
        f"import sys; sys.argv[1:] = ['migrate', '--to', {url!r}]; cli.main()"
    )
    command = [sys.executable, "-c", code]
    killed = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL)
    with closing(connect_store(url)) as target:

        def begun() -> bool:
            with target.reading() as tx:
                return bool(Mover(target, target).marks(tx.connection).get("records"))

        until(begun)
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    moved = said(project, "migrate", "--to", url)

    assert moved["projects"][0]["tables"]["records"]["rows"] == len(WORDS)
    assert said(project, "--store", url, "status") == said(project, "status")


def test_what_changed_meanwhile_is_noticed(project: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old store is written to in the middle of a move: the digests differ, and the sentence says what to do."""
    monkeypatch.setattr(moving, "PAGE", 5)
    store = load_project(project, environment={})
    with closing(connect_store(store.url(store.settings.store))) as source, closing(connect_store(url)) as target:
        mover = Mover(source, target)
        mover.begin()
        pages = mover.carry()
        while next(pages).table != "results":
            pass
        pages.close()
        with sqlite3.connect(project / ".limner" / "limner.db") as connection:
            connection.execute("UPDATE records SET fields = x'80' WHERE pk = 1")

    refused = typed(project, "migrate", "--to", url)

    assert refused.status == 70
    assert "records" in refused.err
    assert "begin again" in refused.err


def test_a_store_that_holds_something_is_not_moved_to(project: Path, url: str) -> None:
    """The new store must be empty, and another one; nothing is written otherwise."""
    typed(project, "migrate", "--to", url)

    twice = typed(project, "migrate", "--to", url)
    itself = typed(project, "migrate", "--to", "sqlite:///.limner/limner.db")

    assert (twice.status, itself.status) == (2, 2)
    assert "not empty" in twice.err
    assert "the same" in itself.err


def test_nothing_moves_under_a_running_engine(project: Path, url: str) -> None:
    """While a run holds the engine's lock the move is refused."""
    (project / "hold").touch()
    (project / "calls").unlink()
    command = [str(Path(sys.executable).with_name("limner")), "run", "words", "words.jsonl", "--full"]
    (project / "inferrers.py").write_text(
        (project / "inferrers.py").read_text().replace('version = "1"', 'version = "2"')
    )
    running = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until((project / "calls").exists)
        refused = typed(project, "migrate", "--to", url)
    finally:
        (project / "hold").unlink()
        running.wait()

    assert refused.status == 2
    assert "stop it first" in refused.err
