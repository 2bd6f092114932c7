"""The share of a molecule's heavy atoms that are not carbon."""

import csv
import sys
from pathlib import Path

from rdkit import Chem


def share(smiles: str) -> float | None:
    """The share for one molecule; nothing where RDKit cannot read it."""
    molecule = Chem.MolFromSmiles(smiles)
    if not molecule or not molecule.GetNumHeavyAtoms():
        return None
    others = sum(1 for atom in molecule.GetAtoms() if atom.GetAtomicNum() not in (1, 6))
    return round(others / molecule.GetNumHeavyAtoms(), 6)


def main(given: Path, answered: Path) -> None:
    """From a CSV of SMILES to a CSV of shares, a row for each."""
    with given.open(newline="") as file:
        molecules = [row["smiles"] for row in csv.DictReader(file)]
    with answered.open("w", newline="") as file:
        csv.writer(file).writerows([["heteroatom_share"], *([share(smiles)] for smiles in molecules)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
