"""The packages that come with the system: each reproduces itself, by its command and by its function."""

import csv
from pathlib import Path

import pytest

from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.in_process import load_function
from limner.systems.ersilia.packages.inferrer import answered
from limner.systems.ersilia.packages.reading import HUB, find_packages

IDS = ["eos1lgp", "eos3b5e", "eos4wt0", "eos5axz", "eos7jio", "eos8a4x", "eos9ei3"]
#: Salts, metals, isotopes, charges, cis and trans, a wildcard; and what is no molecule.
ODD = [
    "CCO.Cl",
    "N[Pt](N)(Cl)Cl",
    "[2H]C([2H])O",
    "C[N+](C)(C)CC([O-])=O",
    "F/C=C\\F",
    "*CCO",
    "",
    "C1CC",
    "c1ccccc1CCN",
]


@pytest.fixture(scope="module")
def packages() -> dict[str, Package]:
    """The shipped packages by id."""
    return find_packages(HUB)


def test_the_shipped_packages_are_complete(packages: dict[str, Package]) -> None:
    """Each has a release, a golden example, a licence, figures, pins, a command, and nothing to warn of."""
    assert list(packages) == IDS
    for package in packages.values():
        assert package.warnings == ()
        assert package.run
        assert package.golden
        assert len(package.golden.rows) == 3
        assert (package.licence, package.consistency) == ("MIT", "Fixed")
        assert set(package.needs.pins) & {"rdkit"}
        assert package.performance.batch == (1_000 if package.id == "eos8a4x" else 10_000)


@pytest.mark.parametrize("model", IDS)
def test_command_and_function_answer_alike(packages: dict[str, Package], model: str) -> None:
    """Row by row the same values, holes included, whatever the molecule; what is none shifts nobody."""
    package = packages[model]
    by_command = answered(package, ODD)
    by_function = answered(package, ODD, function=load_function(package))
    assert list(by_command.rows()) == list(by_function.rows())
    assert sorted(by_command.refused) == sorted(by_function.refused) == [6, 7]
    assert {refused.reason for refused in by_command.refused.values()} == {"no_output"}


def test_a_platinum_complex_has_no_partial_charges(packages: dict[str, Package]) -> None:
    """Four of the 200 descriptors have no value for it, and the molecular weight has one."""
    package = packages["eos8a4x"]
    (row,) = answered(package, ["N[Pt](N)(Cl)Cl"], function=load_function(package)).rows()
    holes = [column.name for column, cell in zip(package.columns, row, strict=True) if cell is None]
    assert sorted(holes) == ["maxabspartialcharge", "maxpartialcharge", "minabspartialcharge", "minpartialcharge"]


@pytest.mark.real_data
def test_the_original_weights_are_reproduced(packages: dict[str, Package], shared_data: Path) -> None:
    """The 30 molecules of the original pipeline's own fixture weigh, as floats, exactly what it says."""
    folder = shared_data / "ersilia" / "upstream"
    with (folder / "test_output.csv").open(newline="") as file:
        wanted = [(row["input"], float(row["mw"])) for row in csv.DictReader(file)]
    package = packages["eos3b5e"]
    cells = answered(package, [smiles for smiles, _ in wanted], function=load_function(package))
    assert [row[0] for row in cells.rows()] == [weight for _, weight in wanted]
    assert len(wanted) == 30
