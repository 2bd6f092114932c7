"""Molecular weights by RDKit; as a program: INPUT.csv OUTPUT.csv."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors

COLUMNS = ["mol_weight"]
rdBase.DisableLog("rdApp.error")


def predict(smiles: Sequence[str]) -> list[list[float | None]]:
    """One row a molecule; what is no molecule has no value."""
    return [[_weight(one)] for one in smiles]


def _weight(smiles: str) -> float | None:
    molecule = Chem.MolFromSmiles(smiles)
    # RDKit makes a molecule of no atoms of an empty text, and weighs it.
    if molecule is None or not molecule.GetNumAtoms():  # type: ignore[redundant-expr]  # the stubs leave None out
        return None
    return float(Descriptors.MolWt(molecule))  # type: ignore[attr-defined]  # made while it is imported


def main(given: Path, answered: Path) -> None:
    """Answer a file of molecules with a file of as many rows."""
    with given.open(newline="") as file:
        rows = predict([row[0] if row else "" for row in csv.reader(file)][1:])
    with answered.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
