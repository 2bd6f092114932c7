"""The 200 oldest descriptors of RDKit; as a program: INPUT.csv OUTPUT.csv."""

import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from rdkit import Chem, rdBase
from rdkit.Chem import QED, Descriptors

#: Descriptors that later releases added.
LATER = frozenset(
    [
        "AvgIpc",
        "BCUT2D_CHGHI",
        "BCUT2D_CHGLO",
        "BCUT2D_LOGPHI",
        "BCUT2D_LOGPLOW",
        "BCUT2D_MRHI",
        "BCUT2D_MRLOW",
        "BCUT2D_MWHI",
        "BCUT2D_MWLOW",
        "NumAmideBonds",
        "NumAtomStereoCenters",
        "NumBridgeheadAtoms",
        "NumHeterocycles",
        "NumSpiroAtoms",
        "NumUnspecifiedAtomStereoCenters",
        "Phi",
        "SPS",
    ]
)
#: By RDKit's own names, in the order of the columns.
FUNCTIONS = {name: function for name, function in sorted(Descriptors.descList) if name not in LATER} | {"qed": QED.qed}
COLUMNS = [name.lower() for name in FUNCTIONS]
rdBase.DisableLog("rdApp.error")


def predict(smiles: Sequence[str]) -> list[list[float | int | None]]:
    """One row a molecule; what is no molecule has no value, and neither has a descriptor that cannot be calculated."""
    return [_descriptors(one) for one in smiles]


def _descriptors(smiles: str) -> list[float | int | None]:
    molecule = Chem.MolFromSmiles(smiles)
    # RDKit makes a molecule of no atoms of an empty text.
    if molecule is None or not molecule.GetNumAtoms():  # type: ignore[redundant-expr]  # the stubs leave None out
        return [None] * len(COLUMNS)
    return [_finite(function(molecule)) for function in FUNCTIONS.values()]


def _finite(value: float | int) -> float | int | None:
    """*value*, or None: the partial charges of a metal are no numbers."""
    return value if math.isfinite(value) else None


def main(given: Path, answered: Path) -> None:
    """Answer a file of molecules with a file of as many rows."""
    with given.open(newline="") as file:
        rows = predict([row[0] if row else "" for row in csv.reader(file)][1:])
    with answered.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
