"""The demonstration and the project to begin with, run as a user types them."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from limner.app.starting import start_project
from limner.systems.ersilia.system import system
from tests.systems.ersilia.calculating import Bench


def limner(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in *folder*."""
    typed = [sys.executable, "-m", "limner.cli.main", *words]
    return subprocess.run(typed, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timed
def test_e30_demo_goes_from_nothing_to_a_look_up(tmp_path: Path) -> None:
    """Within a minute: a library is made, precalculated, looked up, grown and accounted for."""
    started = time.monotonic()
    ran = limner(tmp_path, "demo", "ersilia")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert time.monotonic() - started < 60
    for words in (
        "305 rows: 300 stored, 3 set aside, 2 repeats; 301 predicted",
        "LFQSCWFLJHTTHZ-UHFFFAOYSA-N  CCO  46.069",
        "AAAAAAAAAAAAAA-UHFFFAOYSA-N  missing",
        "to predict: 20 (20 new)",
        "325 rows: 320 stored, 3 set aside, 2 repeats; 20 predicted",
        "every row is accounted for",
    ):
        assert words in ran.stdout, ran.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `limner init --from ersilia` makes."""
    folder = tmp_path_factory.mktemp("project") / "mine"
    start_project(folder, system=system)
    return folder


@pytest.mark.slow
def test_a_new_project_has_a_package_of_its_own(project: Path) -> None:
    """The package of the project passes its check and predicts the project's library, every row of it."""
    checked = limner(project, "models", "check", "packages/eos0own")
    ran = limner(project, "precalc", "eos0own", "--library", "library.csv", "--workers", "2")
    looked = limner(project, "audit", "--library", "library.csv")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "100 rows: 100 stored, 0 failed, 0 repeats" in ran.stdout
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "eos0own v1.0.0+" in looked.stdout


def test_the_test_of_a_new_project_passes(project: Path) -> None:
    """What the project shows of testing works as it stands."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
def test_an_audit_finds_what_is_gone(bench: Bench) -> None:
    """A file that vanished, and a library that was never run, are told with exit statuses of their own."""
    bench.noting()
    library = bench.library(["CCO", "CC", "C1CC"])
    outcome = bench.run(library)
    whole = bench.limner("audit", "--library", str(library))
    next((bench.folder / "out" / "eos0pln").glob(f"{outcome.job}_0001.csv")).unlink()

    gone = bench.limner("audit", "--library", str(library))
    library.write_text("smiles\nCCC\n")
    other = bench.limner("audit", "--library", str(library))

    assert (whole.returncode, gone.returncode, other.returncode) == (0, 1, 2)
    assert "rows, and 2 were stored" in gone.stdout
    assert "No job of this project went over" in other.stderr
