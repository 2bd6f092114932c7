"""Morgan counts of radius 3 by RDKit; as a program: INPUT.csv OUTPUT.csv."""

import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator

SIZE = 2048
COLUMNS = [f"dim_{number:04d}" for number in range(SIZE)]
GENERATOR = rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=SIZE)
#: As the counts of a byte end.
MOST = 255
rdBase.DisableLog("rdApp.error")


def predict(smiles: Sequence[str]) -> npt.NDArray[np.float32]:
    """One row a molecule; what is no molecule has no value."""
    rows = np.full((len(smiles), SIZE), np.nan, dtype=np.float32)
    for number, one in enumerate(smiles):
        counts = _counts(one)
        if counts is not None:
            rows[number] = counts
    return rows


def _counts(smiles: str) -> npt.NDArray[np.generic] | None:
    molecule = Chem.MolFromSmiles(smiles)
    # RDKit makes a molecule of no atoms of an empty text.
    if molecule is None or not molecule.GetNumAtoms():  # type: ignore[redundant-expr]  # the stubs leave None out
        return None
    counts: npt.NDArray[np.uint32] = GENERATOR.GetCountFingerprintAsNumPy(molecule)
    return np.minimum(counts, MOST)


def main(given: Path, answered: Path) -> None:
    """Answer a file of molecules with a file of as many rows."""
    with given.open(newline="") as file:
        rows = predict([row[0] if row else "" for row in csv.reader(file)][1:])
    with answered.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(["" if math.isnan(bit) else int(bit) for bit in row] for row in rows.tolist())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
