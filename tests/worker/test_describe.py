"""What inferrers say of themselves is asked in a process apart, and what is wrong with one spares the others."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from limner.domain.pipelines import Implementation
from limner.testing.picture_server import PictureServer
from limner.worker.describe import describe_all
from tests.worker.cases import write_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a module of every temper."""
    project = write_project(tmp_path)
    (project / "deadly.py").write_text("import os\nos._exit(5)\n")
    (project / "hanging.py").write_text("import time\ntime.sleep(60)\n")
    (project / "broken.py").write_text("import no_such_module\n")
    (project / "leaving.py").write_text("raise SystemExit('bye')\n")
    (project / "plain.py").write_text("def infer(number: int) -> int:\n    return number\n")
    return project


@pytest.fixture
def server() -> Iterator[PictureServer]:
    """Some server on loopback."""
    with PictureServer({}) as serving:
        yield serving


def way(infer: str) -> Implementation:
    """An implementation of this inferrer."""
    return Implementation(infer=infer)


def test_every_target_is_described(project: Path) -> None:
    """A declared version, a source's digest and a built-in come from one child; nothing is imported here."""
    found = describe_all(
        {"declared": way("tempers:Loaded"), "source": way("plain:infer"), "built-in": way("onnx")}, project=project
    )

    assert found["declared"].code == "1"
    assert found["source"].code.startswith("source:")
    assert found["built-in"].code
    assert all(description.problem is None for description in found.values())
    assert "plain" not in sys.modules


def test_a_changed_source_is_another_version(project: Path) -> None:
    """The digest follows the file, from one question to the next."""
    before = describe_all({"it": way("plain:infer")}, project=project)["it"]
    (project / "plain.py").write_text("def infer(number: int) -> int:\n    return number + 1\n")

    after = describe_all({"it": way("plain:infer")}, project=project)["it"]

    assert before.code != after.code


def test_what_is_wrong_with_one_spares_the_others(project: Path) -> None:
    """A module that is missing, breaks, exits or ends the process has a sentence; the rest is described."""
    found = describe_all(
        {name: way(f"{name}:Loaded") for name in ("absent", "broken", "leaving", "deadly", "tempers")}, project=project
    )

    problems = {name: description.problem or "" for name, description in found.items()}
    assert "absent" in problems["absent"]
    assert "no_such_module" in problems["broken"]
    assert "bye" in problems["leaving"]
    assert "ended with exit status 5" in problems["deadly"]
    assert found["tempers"].problem is None


def test_the_whole_has_a_limit(project: Path) -> None:
    """A module that hangs while it is imported is ended, and said so."""
    found = describe_all(
        {"good": way("tempers:Loaded"), "bad": way("hanging:it")}, project=project, limit=timedelta(seconds=2)
    )

    assert found["good"].problem is None
    assert "not described within 2 s" in (found["bad"].problem or "")


def test_an_inferrer_behind_http_is_asked_through_the_guard(project: Path, server: PictureServer) -> None:
    """An address that the settings do not list is not called; the sentence names the setting."""
    target = Implementation(infer="http", params={"url": f"http://{server.host}/", "protocol": "v2", "model": "m"})

    found = describe_all({"it": target}, project=project)["it"]

    assert "allow_hosts" in (found.problem or "")
    assert server.total() == 0


def test_nothing_asked_starts_nothing(project: Path) -> None:
    """No targets, no process."""
    assert describe_all({}, project=project) == {}
