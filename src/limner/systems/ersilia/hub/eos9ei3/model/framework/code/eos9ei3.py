"""Synthetic accessibility scores by RDKit's Contrib folder; as a program: INPUT.csv OUTPUT.csv."""

import csv
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rdkit import Chem, RDConfig, rdBase

sys.path.append(str(Path(RDConfig.RDContribDir) / "SA_Score"))
# It is no package, but a folder of scripts.
SCORER = import_module("sascorer")

COLUMNS = ["sa_score"]
rdBase.DisableLog("rdApp.error")


def predict(smiles: Sequence[str]) -> list[list[float | None]]:
    """One row a molecule; what is no molecule has no value."""
    return [[_score(one)] for one in smiles]


def _score(smiles: str) -> float | None:
    molecule = Chem.MolFromSmiles(smiles)
    # RDKit makes a molecule of no atoms of an empty text.
    if molecule is None or not molecule.GetNumAtoms():  # type: ignore[redundant-expr]  # the stubs leave None out
        return None
    return round(float(SCORER.calculateScore(molecule)), 6)


def main(given: Path, answered: Path) -> None:
    """Answer a file of molecules with a file of as many rows."""
    with given.open(newline="") as file:
        rows = predict([row[0] if row else "" for row in csv.reader(file)][1:])
    with answered.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
