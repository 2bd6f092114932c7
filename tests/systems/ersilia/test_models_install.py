"""`limner models install`: a package's pins become an environment of its own, which the package then runs in."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from limner.app.lock import EngineLock
from limner.errors import UsageError
from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.environment import folder_of, own_interpreter
from limner.systems.ersilia.packages.interpreters import find_interpreter, find_uv
from limner.systems.ersilia.packages.pulling import pull
from limner.systems.ersilia.packages.reading import read_package
from limner.systems.ersilia.packages.recipe import Recipe, read_recipe
from limner.testing.local_server import LocalServer
from tests.systems.ersilia.calculating import Bench
from tests.systems.ersilia.made_packages import made
from tests.systems.ersilia.package_index import PackageIndex, Wheel
from tests.systems.ersilia.served import settle
from tests.waiting import until

#: The one Python that is certainly here.
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
#: What answers in an environment with `thing`, and how.
BODY = "import needed, thing\nreturn [[thing.VERSION, needed.VERSION] for one in smiles]"
COLUMNS = ["thing:string", "needed:string"]
#: Only with the `needed` of its day does `thing` answer as it did at home.
AT_HOME = (("CC", "CCO"), (("1.0", "1.0"), ("1.0", "1.0")))


class Ended(NamedTuple):
    """How a verb of `limner models` ended, and what it printed."""

    status: int
    told: dict[str, Any]
    complained: str


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """The only package index that uv and pip know."""
    with PackageIndex() as found:
        found.only_one(monkeypatch, cache=str(tmp_path / "cache"))
        yield found


def typed(verb: str, reference: str | Path, *options: str, beside: Path) -> Ended:
    """`limner models VERB REFERENCE --json`, typed in the folder *beside*."""
    beside.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "limner.cli.main", "models", verb, str(reference), *options, "--json"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, cwd=beside)
    return Ended(ended.returncode, json.loads(ended.stdout or "{}"), ended.stderr)


def pinned(folder: Path, pins: Mapping[str, str] | None = None) -> Path:
    """A package that answers with the versions that it finds, and pins that of `thing`."""
    return made(folder, "eos0pin", BODY, columns=COLUMNS, golden=AT_HOME, pins=pins or {"thing": "1.0"})


def asking(folder: Path, install: str, *, file: str = "install.yml") -> Package:
    """A package whose *file* says *install*."""
    home = made(folder)
    (home / "install.yml").unlink()
    (home / file).write_text(install)
    return read_package(home)


def by_hand(package: Path, *, project: Path) -> Path:
    """The environment of a package with `thing` in it, made without the verb."""
    place = project / folder_of(read_package(package).needs)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    pull(Recipe(python=None, requirements=("thing==1.0",)), into=place / "bin" / "python", uv=find_uv())
    return place


@pytest.mark.slow
def test_e31_a_package_is_installed_checked_and_precalculated(bench: Bench, index: PackageIndex) -> None:
    """What is pinned is there in its version, what that needs in the one of its day; the package runs there."""
    # given
    home = pinned(bench.folder / "packages")
    refused = typed("check", home, beside=bench.folder)

    # when
    installed = typed("install", "eos0pin", "--python", HERE, beside=bench.folder)

    # then
    assert refused.status == 1
    assert "needs thing==1.0, which is not installed here. `limner models install" in refused.told["problems"][0]
    assert installed.status == 0, installed.complained
    held = installed.told["packages"]
    assert (held["thing"], held["needed"], installed.told["day"]) == ("1.0", "1.0", "2023-03-01")
    assert installed.told["folder"] == str(folder_of(read_package(home).needs))
    assert installed.told["bytes"] > 100_000
    checked = typed("check", home, beside=bench.folder)
    assert (checked.status, checked.told["environment"]) == (0, {"python": HERE, "thing": "1.0"})
    outcome = bench.run(bench.library(["CCO"]), model="eos0pin")
    assert [(row["thing"], row["needed"]) for row in bench.rows(outcome.job, model="eos0pin")] == [("1.0", "1.0")]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_far_worker_runs_a_package_in_the_environment_of_its_own_folder(
    bench: Bench, index: PackageIndex, tmp_path: Path
) -> None:
    """Typed in a folder that holds nothing else, the verb has a machine serve the version that is asked for."""
    # given
    home = pinned(bench.folder / "packages")
    settle(bench, {})
    far = tmp_path / "far"
    for folder in (bench.folder, far):
        assert typed("install", home, "--python", HERE, beside=folder).status == 0
    library = bench.library(["CCO", "CC"])

    # when
    with LocalServer(bench.folder, own_workers=False) as server, (tmp_path / "said.txt").open("wb") as said:
        words = bench.words("worker", "--url", server.url, "--stage", "predict")
        worker = subprocess.Popen(words, cwd=far, stdout=said, stderr=said)
        try:
            ended = bench.limner("precalc", "eos0pin", "--library", str(library), "--workers", "1", "--json")
        finally:
            worker.terminate()
            worker.wait(60)

    # then
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["counts"]["stored"] == 2


@pytest.mark.slow
def test_an_environment_is_built_once_and_again_when_asked(index: PackageIndex, tmp_path: Path) -> None:
    """Two packages with the same pins share one; another Python or `--again` builds it anew, and the old one goes."""
    one, other = pinned(tmp_path / "one"), pinned(tmp_path / "other")
    project = tmp_path / "project"

    first = typed("install", one, "--python", HERE, beside=project)
    second = typed("install", other, "--python", HERE, beside=project)
    (project / first.told["folder"] / "broken.txt").touch()
    third = typed("install", one, "--python", HERE, "--again", beside=project)

    assert [step.told["built"] for step in (first, second, third)] == [True, False, True]
    assert {**first.told, "built": False} == second.told
    assert not (project / first.told["folder"] / "broken.txt").exists()
    places = [path for path in (project / first.told["folder"]).parent.iterdir() if path.is_dir()]
    assert len({path.resolve() for path in places}) == 1


@pytest.mark.slow
def test_a_killed_installation_leaves_no_environment(index: PackageIndex, tmp_path: Path) -> None:
    """Killed half-way nothing is taken for an environment, and the next command builds it and clears up."""
    # given
    package = pinned(tmp_path)
    words = [sys.executable, "-m", "limner.cli.main", "models", "install", str(package), "--python", HERE]
    project = tmp_path / "project"
    project.mkdir()
    index.flowing.clear()
    process = subprocess.Popen(words, cwd=project, start_new_session=True)
    until(index.asked.is_set)
    second = typed("install", package, "--python", HERE, beside=project)

    # when
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    # then
    needs = read_package(package).needs
    assert second.status == 2
    assert f"Process {process.pid} is building" in second.complained
    assert own_interpreter(needs, project=project) is None
    index.flowing.set()
    installed = typed("install", package, "--python", HERE, beside=project)
    assert installed.told["built"]
    left = {path.name for path in (project / folder_of(needs)).parent.iterdir()}
    name = folder_of(needs).name
    assert left == {name, f"{name}.lock", (project / folder_of(needs)).resolve().name}


@pytest.mark.slow
def test_another_python_is_another_environment_and_is_told(index: PackageIndex, tmp_path: Path) -> None:
    """A Python that is not here is named, with the option; the one that is taken instead is told as a difference."""
    package = pinned(tmp_path)
    (package / "install.yml").write_text('python: "3.99"\ncommands:\n  - [pip, thing, "1.0"]\n')

    missing = typed("install", package, beside=tmp_path)
    patch = typed("install", package, "--python", f"{HERE}.1", beside=tmp_path)
    instead = typed("install", package, "--python", HERE, beside=tmp_path)

    assert missing.status == 2
    assert "asks for Python 3.99" in missing.complained
    assert f"--python {HERE}" in missing.complained
    assert (patch.status, "--python takes a minor version, as 3.11" in patch.complained) == (2, True)
    assert instead.told["warnings"] == [
        f"Python is {HERE} here and pinned to 3.99, so what it predicts there is of another version."
    ]
    assert typed("check", package, beside=tmp_path).told["environment"]["python"] == HERE


@pytest.mark.slow
def test_what_cannot_be_installed_leaves_what_was_there(index: PackageIndex, tmp_path: Path) -> None:
    """A version that the index does not have is told in the tool's words, and an environment before it stays."""
    package = pinned(tmp_path)
    place = by_hand(package, project=tmp_path)
    (package / "install.yml").write_text("commands: ['pip install thing==1.0 needed==7']")
    place.rename(tmp_path / folder_of(read_package(package).needs))

    told = typed("install", package, "--python", HERE, "--again", beside=tmp_path)

    assert told.status == 2
    assert "thing==1.0, needed==7 could not be installed. uv said last" in told.complained
    assert "no version of needed==7" in told.complained
    left = [path.name for path in place.parent.iterdir() if path.is_dir()]
    assert left == [folder_of(read_package(package).needs).name]


def test_an_environment_that_was_made_by_hand_is_left_alone(index: PackageIndex, tmp_path: Path) -> None:
    """What lies under its name is used as it is, unless it is to be built again."""
    package = pinned(tmp_path)
    by_hand(package, project=tmp_path)

    told = typed("install", package, "--python", HERE, beside=tmp_path).told

    assert (told["built"], told["packages"]) == (False, {"needed": "1.0", "thing": "1.0"})


@pytest.mark.parametrize(
    ("days", "needed", "day"),
    [
        (("2023-03-01", "2022-01-01", "2024-01-01"), "1.0", "2023-03-01"),
        ((None, None, None), "2.0", ""),
        (("2021-01-01", "2022-01-01", "2024-01-01"), "2.0", ""),
    ],
    ids=["dated", "undated", "older than what it needs"],
)
def test_dependencies_are_those_of_the_day_of_the_newest_pin(
    index: PackageIndex, tmp_path: Path, days: tuple[str | None, ...], needed: str, day: str
) -> None:
    """Where the index knows no days, or had nothing that fits on that day, it is today's, and that is told."""
    thing, older, newer = days
    index.wheels = [
        Wheel("thing", "1.0", thing, ["needed"]),
        Wheel("needed", "1.0", older),
        Wheel("needed", "2.0", newer),
    ]
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)

    pulled = pull(Recipe(python=None, requirements=("thing==1.0",)), into=place / "bin" / "python", uv=find_uv())

    assert (pulled.day, bool(pulled.warnings)) == (day, not day)
    words = [str(place / "bin" / "python"), "-c", "import needed; print(needed.VERSION)"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == needed


@pytest.mark.slow
def test_without_uv_pip_installs(index: PackageIndex, tmp_path: Path) -> None:
    """The environment's own pip does it, which chooses what is newest: that is told."""
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)

    pulled = pull(Recipe(python=None, requirements=("thing==1.0",)), into=place / "bin" / "python", uv=None)

    assert "uv is not installed here" in pulled.warnings[0]
    words = [str(place / "bin" / "python"), "-c", "import needed, thing; print(thing.VERSION, needed.VERSION)"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.split() == ["1.0", "2.0"]


def test_two_commands_never_build_the_same_environment(tmp_path: Path) -> None:
    """The second one is told who is at it, and does nothing."""
    package = pinned(tmp_path)
    place = tmp_path / folder_of(read_package(package).needs)
    lock = EngineLock(place.with_name(f"{place.name}.lock"))
    assert lock.take()

    told = typed("install", package, beside=tmp_path)

    lock.release()
    assert told.status == 2
    assert f"Process {os.getpid()} is building {place.name}" in told.complained


@pytest.mark.parametrize(
    ("install", "requirements", "options"),
    [
        ("python: '3.10'\ncommands: [[pip, rdkit, 2023.9.2], [pip, numpy]]", ("rdkit==2023.9.2", "numpy"), ()),
        ("commands: ['pip install --no-cache-dir rdkit==1 six']", ("rdkit==1", "six"), ()),
        ("commands: ['python -m pip install -q \"thing[all]==1\"']", ("thing[all]==1",), ()),
        (
            "commands: [[pip, torch, '2', --index-url, 'file:///a/b'], 'pip install -f https://c d==1']",
            ("torch==2", "d==1"),
            ("--index-url=file:///a/b", "--find-links=https://c"),
        ),
    ],
)
def test_pip_commands_are_read_in_every_form(
    tmp_path: Path, install: str, requirements: tuple[str, ...], options: tuple[str, ...]
) -> None:
    """Lists and lines, with or without versions, extras, and where else to look."""
    recipe = read_recipe(asking(tmp_path, install))
    assert (recipe.requirements, recipe.options) == (requirements, options)


@pytest.mark.parametrize(
    ("file", "install", "told"),
    [
        ("install.yml", "commands: [[conda, rdkit, '2021', conda-forge]]", "`conda rdkit 2021 conda-forge`"),
        ("Dockerfile", "FROM bentoml/model-server:py310\nRUN apt-get install -y gcc", "`apt-get install -y gcc`"),
        ("Dockerfile", "FROM python:3.10\nRUN pip install rdkit==1 && mkdir /data", "`mkdir /data`"),
        ("install.yml", "commands: ['pip install git+https://a/b.git']", "`git+https://a/b.git`"),
        ("install.yml", "commands: ['pip install numpy<2']", "`numpy<2`"),
        ("install.yml", "commands: ['pip install -r requirements.txt']", "`-r`"),
        ("install.yml", "python: '3.10'", "pins nothing"),
    ],
)
def test_what_is_no_pip_pin_is_refused(tmp_path: Path, file: str, install: str, told: str) -> None:
    """Half an environment would give other answers: one sentence names what cannot be done."""
    with pytest.raises(UsageError) as refused:
        read_recipe(asking(tmp_path, install, file=file))
    assert told in str(refused.value)


def test_an_interpreter_that_does_not_answer_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only looks like the Python that is asked for, as pyenv's shims do, is none."""
    version = "3.97"
    broken, good = tmp_path / "broken", tmp_path / "good"
    for folder, script in ((broken, "exit 127"), (good, f"echo {version}")):
        folder.mkdir()
        (folder / f"python{version}").write_text(f"#!/bin/sh\n{script}\n")
        (folder / f"python{version}").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}{os.pathsep}{good}{os.pathsep}{os.environ['PATH']}")

    assert find_interpreter(version) == good / f"python{version}"
    assert find_interpreter(HERE) is not None
    assert find_interpreter("3.98") is None


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.timeout(300)
def test_e8_the_hub_s_model_of_an_older_rdkit_passes_where_its_pins_are(shared_data: Path, tmp_path: Path) -> None:
    """eos4wt0 differs in 112 columns without its environment, and in none with it: RDKit 2023.9.2 and NumPy 1."""
    package = shared_data / "ersilia" / "models" / "eos4wt0"
    before = typed("check", package, beside=tmp_path)

    installed = typed("install", package, "--python", HERE, beside=tmp_path)

    after = typed("check", package, beside=tmp_path)
    assert (before.status, len(before.told["columns"])) == (1, 112)
    assert installed.status == 0, installed.complained
    assert installed.told["day"] == "2023-11-25"
    assert installed.told["packages"]["numpy"].startswith("1.")
    assert (after.status, after.told["columns"]) == (0, []), after.told["problems"]
    assert after.told["environment"] == {"python": HERE, "rdkit": "2023.9.2"}
