"""What the original got wrong when it ran models, and must hold here."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.in_process import load_function
from limner.systems.ersilia.packages.inferrer import answered
from limner.systems.ersilia.packages.reading import HUB, read_package
from tests.systems.ersilia.made_packages import misbehaving
from tests.systems.ersilia.predicted import values_of, working


def test_packages_run_side_by_side(tmp_path: Path) -> None:
    """A package that writes a fixed file into its current folder: four parallel calls equal four serial ones."""
    # given
    package = read_package(misbehaving(tmp_path, "file"))
    inputs = [[f"{'C' * (10 * call + n)}O" for n in range(1, 6)] for call in range(4)]

    def lengths(smiles: list[str]) -> list[object]:
        return [row[0] for row in answered(package, smiles).rows()]

    # when
    serial = [lengths(smiles) for smiles in inputs]
    with ThreadPoolExecutor(max_workers=4) as pool:
        parallel = list(pool.map(lengths, inputs))

    # then
    assert parallel == serial == [[len(one) for one in smiles] for smiles in inputs]


def test_an_unparsable_molecule_shifts_nothing() -> None:
    """Row counts and order are right with molecules that are none among them, and their neighbours' values equal."""
    package = read_package(HUB / "eos3b5e")
    good = ["CCO", "c1ccccc1", "CCCl", "CC(=O)O"]
    mixed = ["CCO", "C1CC", "c1ccccc1", "xyz", "CCCl", "C(", "CC(=O)O"]

    def weights(smiles: list[str], *, in_process: bool) -> list[object]:
        cells = answered(package, smiles, function=load_function(package) if in_process else None)
        assert len(cells) == len(smiles)
        return [row[0] for row in cells.rows()]

    for in_process in (False, True):
        found = weights(mixed, in_process=in_process)
        assert found[::2] == weights(good, in_process=in_process)
        assert found[1::2] == [None] * 3


@pytest.mark.parametrize("model", ["eos3b5e", "eos8a4x"])
def test_an_empty_smiles_is_not_a_molecule(model: str) -> None:
    """RDKit makes 0 atoms and weight 0.0 of it; here it has no value, and fails as no output."""
    package = read_package(HUB / model)
    cells = answered(package, ["CCO", "", "CCO"], function=load_function(package))
    rows = list(cells.rows())
    assert set(rows[1]) == {None}
    assert rows[0] == rows[2]
    assert {row: refused.reason for row, refused in cells.refused.items()} == {1: "no_output"}


def test_a_worker_fails_the_empty_one_alone(tmp_path: Path) -> None:
    """As a worker runs it: one failure, and its neighbours' weights."""
    package: Package = read_package(HUB / "eos3b5e")
    with working(package.folder, folder=tmp_path) as worker:
        found = values_of(worker.predict(["CCO", "", "CCO"]))
    assert found == [[46.069], ("OUTPUT_INVALID", "no_output"), [46.069]]
