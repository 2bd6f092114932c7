"""`limner models check FOLDER`: a package is run twice on its golden example, and its verdict told."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple

import pytest

from limner.systems.ersilia.packages.environment import folder_of
from limner.systems.ersilia.packages.golden import check_package
from limner.systems.ersilia.packages.reading import HUB, read_package
from tests.systems.ersilia.made_packages import GOLDEN, made, misbehaving


class Checked(NamedTuple):
    """How the command ended, and what it told."""

    status: int
    told: dict[str, Any]


def check(folder: Path, *, beside: Path) -> Checked:
    """`limner models check FOLDER --json`, typed in *beside*."""
    asked = [
        sys.executable,
        "-m",
        "limner.cli.main",
        "--project",
        str(beside),
        "models",
        "check",
        str(folder),
        "--json",
    ]
    ended = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=beside)
    assert ended.returncode in (0, 1), ended.stderr
    return Checked(ended.returncode, json.loads(ended.stdout))


def test_e1_a_shipped_package_is_sound(tmp_path: Path) -> None:
    """It reproduces its golden output twice, and its environment is named."""
    status, told = check(HUB / "eos3b5e", beside=tmp_path)
    assert (status, told["problems"], told["reproduced"], told["deterministic"]) == (0, [], True, True)
    assert set(told["environment"]) == {"python", "rdkit"}


def test_e1_a_changed_golden_cell_is_named_by_row_and_column(tmp_path: Path) -> None:
    """One cell that is another exits 1, and the sentence says where and what."""
    package = copytree(HUB / "eos3b5e", tmp_path / "eos3b5e")
    golden = package / "model" / "framework" / "examples" / "run_output.csv"
    lines = golden.read_text().splitlines()
    golden.write_text("\n".join([*lines[:2], "121.2", *lines[3:]]) + "\n")

    status, told = check(package, beside=tmp_path)

    assert (status, told["reproduced"], told["columns"]) == (1, False, ["mol_weight"])
    assert "Row 2, column mol_weight: 121.183 and not 121.2" in told["problems"][0]


def test_e1_a_folder_without_a_package_is_told(tmp_path: Path) -> None:
    """A folder that no system knows is a usage error, in one sentence."""
    asked = [sys.executable, "-m", "limner.cli.main", "models", "check", str(tmp_path)]
    ended = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 2
    assert "holds no model that a system knows" in ended.stderr


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("model", ["eos3b5e", "eos5axz", "eos8a4x"])
def test_e8_models_reproduce_the_golden_files_of_the_hub(shared_data: Path, model: str) -> None:
    """What the hub's own packages answered at home, the project's code answers here."""
    verdict = check_package(read_package(shared_data / "ersilia" / "models" / model), code=read_package(HUB / model))
    assert (verdict.problems, verdict.reproduced, verdict.deterministic) == ((), True, True)


@pytest.mark.slow
@pytest.mark.real_data
def test_e8_a_model_of_an_older_rdkit_is_refused(shared_data: Path, tmp_path: Path) -> None:
    """eos4wt0 is told with its 112 columns, the RDKit that it is pinned to and the one that is here."""
    status, told = check(shared_data / "ersilia" / "models" / "eos4wt0", beside=tmp_path)
    here = told["environment"]["rdkit"]
    assert (status, len(told["columns"])) == (1, 112)
    assert "112 of 2,048 columns" in told["problems"][0]
    assert all(column in told["problems"][0] for column in told["columns"])
    assert f"rdkit is {here} here and pinned to 2023.9.2" in told["problems"][1]


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("model", ["eos7jio", "eos9ei3"])
def test_e8_without_a_golden_file_nothing_is_shown(shared_data: Path, model: str) -> None:
    """A package that brings no example is refused for that; the project's own of the same columns is sound."""
    theirs, ours = read_package(shared_data / "ersilia" / "models" / model), read_package(HUB / model)
    assert "no golden example" in check_package(theirs, code=ours).problems[0]
    assert [column.name for column in theirs.columns] == [column.name for column in ours.columns]
    assert check_package(ours).allowed


@pytest.mark.slow
def test_e20_a_model_that_is_random_is_told(tmp_path: Path) -> None:
    """Two runs that differ: refused where the metadata say Fixed, allowed where they say Variable."""
    fixed = check(misbehaving(tmp_path / "one", "random"), beside=tmp_path)
    variable = check(misbehaving(tmp_path / "two", "random", consistency="Variable"), beside=tmp_path)

    assert (fixed.status, fixed.told["deterministic"]) == (1, False)
    assert "metadata say that the output is Fixed" in fixed.told["problems"][0]
    assert (variable.status, variable.told["deterministic"]) == (0, False)


def test_tolerance_is_relative_and_never_below_one_in_a_million(tmp_path: Path) -> None:
    """A float32's error in a large number passes, the same error in a small one does not; integers are exact."""
    # given: what is answered and what is expected, by column
    cells: dict[str, tuple[float, float]] = {
        "large:float": (1_000_000.5, 1_000_001.4),
        "larger:float": (1_000_000.5, 1_000_001.6),
        "small:float": (0.000001, 0.0000019),
        "smaller:float": (0.000001, 0.0000021),
        "whole:integer": (1_000_000, 1_000_000),
        "other:integer": (1_000_000, 1_000_001),
    }
    answered, expected = zip(*cells.values(), strict=True)
    home = made(
        tmp_path / "a folder with blanks",
        body=f"return [{list(answered)!r} for one in smiles]",
        columns=list(cells),
        golden=(("CC",), (expected,)),
    )

    # when
    verdict = check_package(read_package(home))

    # then
    assert verdict.columns == ("larger", "smaller", "other")
    assert "3 of 6 columns: larger, smaller, other" in verdict.problems[0]


def test_an_empty_golden_cell_equals_no_value(tmp_path: Path) -> None:
    """Empty and NaN are no value, on both sides; a value where none is expected, or none where one is, differs."""
    home = made(
        tmp_path,
        body="return [[float('nan'), None, 1.0, float('inf'), 1.0] for one in smiles]",
        columns=["empty:float", "word:float", "value:float", "lost:float", "found:float"],
        golden=(("CC",), (("", "NaN", 1.0, 1.0, ""),)),
    )
    assert check_package(read_package(home)).columns == ("lost", "found")


@pytest.mark.parametrize(
    ("name", "told"),
    [("drop", "misaligned"), ("swap", "golden example"), ("exit", "exit status 1"), ("text", "bad_type")],
)
def test_a_package_that_misbehaves_on_its_example_is_refused(tmp_path: Path, name: str, told: str) -> None:
    """Whatever goes wrong is the sentence of the refusal, with the reason that its molecules would fail with."""
    home = misbehaving(tmp_path, name)
    if name in ("drop", "text"):
        examples = home / "model" / "framework" / "examples"
        (examples / "run_input.csv").write_text("smiles\nCC\nC#N\n")
        (examples / "run_output.csv").write_text("value\n2\n3\n")
    verdict = check_package(read_package(home))
    assert not verdict.allowed
    assert told in verdict.problems[0]


def test_a_function_that_answers_otherwise_than_the_command_is_refused(tmp_path: Path) -> None:
    """Both are run, so that what a worker calls is what was shown to be right."""
    home = made(
        tmp_path,
        body="return [[len(one) + (0 if __name__ == '__main__' else 1)] for one in smiles]",
        in_process=True,
    )
    verdict = check_package(read_package(home))
    assert "Two runs on the same input differ in column value" in verdict.problems[0]


def test_a_pinned_package_that_is_missing_is_told(tmp_path: Path) -> None:
    """It is not run at all: its answers would be another model's."""
    home = made(tmp_path, pins={"no-such-package-here": "1.0"})
    verdict = check_package(read_package(home))
    assert "needs no-such-package-here==1.0, which is not installed here" in verdict.problems[0]


@pytest.mark.slow
def test_an_environment_of_its_own_is_the_package_s_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an environment was built for the pins, the script's python is that one, and so are the versions."""
    # given
    monkeypatch.chdir(tmp_path)
    home = made(
        tmp_path,
        body="import sys\nreturn [[sys.prefix] for one in smiles]",
        columns=["place:string"],
        pins={"pinned-thing": "2.0"},
        golden=None,
    )
    package = read_package(home)
    place = tmp_path / folder_of(package.needs)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (site,) = (place / "lib").glob("python*/site-packages")
    (site / "pinned_thing-2.0.dist-info").mkdir()
    (site / "pinned_thing-2.0.dist-info" / "METADATA").write_text("Name: pinned-thing\nVersion: 2.0\n")
    examples = home / "model" / "framework" / "examples"
    (examples / "run_input.csv").write_text("smiles\nCC\n")
    (examples / "run_output.csv").write_text(f"place\n{place}\n")

    # when
    verdict = check_package(read_package(home))

    # then
    assert verdict.problems == ()
    assert verdict.environment["pinned-thing"] == "2.0"


def test_the_golden_example_of_the_tests_is_one(tmp_path: Path) -> None:
    """The fixture's own example is what its command answers: the tests above change one thing at a time."""
    home = made(tmp_path)
    with (home / "model" / "framework" / "examples" / "run_output.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [[str(cell) for cell in row] for row in GOLDEN[1]]
    assert check_package(read_package(home)).allowed
