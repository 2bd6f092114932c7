"""Octanol-water partition by a ridge regression in an ONNX file; as a program: INPUT.csv OUTPUT.csv."""

import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator

SIZE = 1024
COLUMNS = ["logp"]
MODEL = Path(__file__).resolve().parents[2] / "checkpoints" / "logp.onnx"
GENERATOR = rdFingerprintGenerator.GetMorganGenerator(radius=1, fpSize=SIZE)
rdBase.DisableLog("rdApp.error")


def predict(smiles: Sequence[str]) -> npt.NDArray[np.float64]:
    """One row a molecule; what is no molecule has no value."""
    rows = np.full((len(smiles), 1), np.nan)
    counts = [counts_of(one) for one in smiles]
    known = [number for number, one in enumerate(counts) if one is not None]
    if known:
        session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
        rows[known] = session.run(None, {"counts": np.stack([one for one in counts if one is not None])})[0]
    return rows


def counts_of(smiles: str) -> npt.NDArray[np.float32] | None:
    """How often each environment of radius 1 occurs; None for what is no molecule."""
    molecule = Chem.MolFromSmiles(smiles)
    # RDKit makes a molecule of no atoms of an empty text.
    if molecule is None or not molecule.GetNumAtoms():  # type: ignore[redundant-expr]  # the stubs leave None out
        return None
    counts: npt.NDArray[np.uint32] = GENERATOR.GetCountFingerprintAsNumPy(molecule)
    return counts.astype(np.float32)


def main(given: Path, answered: Path) -> None:
    """Answer a file of molecules with a file of as many rows."""
    with given.open(newline="") as file:
        rows = predict([row[0] if row else "" for row in csv.reader(file)][1:])
    with answered.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(["" if math.isnan(cell) else repr(cell) for cell in row] for row in rows.tolist())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
