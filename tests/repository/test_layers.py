"""The layers hold, and a planted import that breaks them is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

LINT = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
ROOMS = [sys.executable, "-m", "tools.check_rooms"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the source and of its rules, to break."""
    shutil.copytree(REPOSITORY / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def plant(copy: Path, module: str, line: str) -> None:
    """Add *line* to *module*, which is made, with the packages above it, where it does not exist."""
    path = copy.joinpath("src", *module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    for package in path.relative_to(copy / "src").parents[:-1]:
        (copy / "src" / package / "__init__.py").touch()
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")


def check(command: list[str], *, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a check on the tree at *root*."""
    environ = os.environ | {"PYTHONPATH": str(root / "src"), "COLUMNS": "200"}
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)


def test_layers_hold() -> None:
    """The source as it stands keeps every contract."""
    done = check(LINT, root=REPOSITORY)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("limner.domain.planted", "import limner.bus.base", "Imports flow one way"),
        ("limner.bus.planted", "import limner.systems.catalogue", "Nothing imports a system"),
        ("limner.domain.planted", "import sqlalchemy", "The domain does no I/O"),
        ("limner.domain.planted", "import limner.clock", "The domain asks no clock"),
        ("limner.newroom.planted", "import limner.errors", "Imports flow one way"),
    ],
)
def test_planted_import_is_found(copy: Path, module: str, line: str, contract: str) -> None:
    """An import against the layers, or a room without a place in them, breaks the contract that forbids it."""
    # given
    plant(copy, module, line)

    # when
    done = check(LINT, root=copy)

    # then
    broken = [text for text in done.stdout.splitlines() if text.startswith(contract) and text.endswith("BROKEN")]
    assert done.returncode == 1, done.stdout + done.stderr
    assert broken, done.stdout


def test_worker_that_touches_the_store_is_found(copy: Path) -> None:
    """A worker that imports the store breaks its own contract, by whatever path."""
    # given
    plant(copy, "limner.store.planted", "")
    plant(copy, "limner.worker.planted", "import limner.store.planted")

    # when
    done = check(LINT, root=copy)

    # then
    assert "A worker never touches the store BROKEN" in done.stdout, done.stdout + done.stderr


def test_rooms_hold() -> None:
    """The source as it stands names backends in connect.py alone, and its inferrers know no plumbing."""
    done = check(ROOMS, root=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_stranger_to_a_backend_is_found(copy: Path) -> None:
    """A module of another room that imports a backend is named."""
    # given
    plant(copy, "limner.bus.planted_backend", "")
    plant(copy, "limner.bus.connect", "import limner.bus.planted_backend")
    plant(copy, "limner.engine.planted", "import limner.bus.planted_backend")

    # when
    done = check(ROOMS, root=copy)

    # then
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        "limner.engine.planted imports limner.bus.planted_backend; only limner.bus.connect may know a backend,"
        " so ask it by URL."
    ]


def test_plumbing_in_an_inferrer_is_found(copy: Path) -> None:
    """An inferrer that reaches limner's plumbing by way of its own system is named with the path."""
    # given
    plant(copy, "limner.systems.planted.pipelines", 'NAMED = "limner.systems.planted.colours:Colours"')
    plant(copy, "limner.systems.planted.helper", "import limner.errors")
    plant(copy, "limner.systems.planted.colours", "import limner.systems.planted.helper")

    # when
    done = check(ROOMS, root=copy)

    # then
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(
        "limner.systems.planted.colours imports limner.systems.planted.helper imports limner.errors;"
    )
