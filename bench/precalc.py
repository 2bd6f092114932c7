"""A library of molecules through one model, beside what RDKit alone takes for the same keys and values."""

import argparse
import csv
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice

from measuring import Stopwatch, project, stopwatch, tell

from limner.systems.ersilia.made_molecules import made_molecules

MODEL = "eos3b5e"
PIPELINE = """
from limner.systems.ersilia.pipeline import molecules_pipeline

pipeline = molecules_pipeline()
"""
#: Molecules that one process of the pool is given at a time.
_SHARE = 500


def limner(molecules: list[str]) -> tuple[Stopwatch, int]:
    """`limner precalc`: identified, predicted, published to the prediction table, CSV and Parquet; start included."""
    with project(
        {"pipeline.py": PIPELINE, "library.csv": "".join(f"{one}\n" for one in ["smiles", *molecules])}
    ) as folder:
        command = [sys.executable, "-m", "limner.cli.main", "precalc", MODEL, "--library", "library.csv", "--json"]
        with stopwatch() as watch:
            said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        (out,) = (folder / "out" / MODEL).glob("*_0001.csv")
        files = sorted(out.parent.glob("*.csv"))
        rows = sum(len(list(csv.reader(file.open(newline="")))) - 1 for file in files)
        assert rows == json.loads(said.stdout)["counts"]["stored"]
    return watch, rows


def pool(molecules: list[str]) -> tuple[Stopwatch, int]:
    """RDKit alone on all cores, the same keys and weights into one CSV: nothing is checked, and a stop loses all."""
    with project({}) as folder:
        out = folder / "out.csv"
        with stopwatch() as watch, out.open("w", newline="") as file, multiprocessing.Pool(os.cpu_count()) as processes:
            for rows in processes.imap(_keyed_weights, _shares(molecules)):
                csv.writer(file).writerows(rows)
        with out.open(newline="") as file:
            return watch, sum(1 for _ in csv.reader(file))


def _shares(molecules: list[str]) -> Iterator[list[str]]:
    left = iter(molecules)
    while share := list(islice(left, _SHARE)):
        yield share


def _keyed_weights(molecules: list[str]) -> list[tuple[str, str, float]]:
    from rdkit import Chem
    from rdkit.Chem import Descriptors, inchi

    found = []
    for smiles in molecules:
        molecule = Chem.MolFromSmiles(smiles)
        found.append((inchi.MolToInchiKey(molecule), smiles, Descriptors.MolWt(molecule)))
    return found


def main() -> None:
    """Measure one of them."""
    ways: dict[str, Callable[[list[str]], tuple[Stopwatch, int]]] = {"limner": limner, "limit: RDKit alone": pool}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=ways, default="limner")
    parser.add_argument("--records", type=int, default=20_000)
    asked = parser.parse_args()
    watch, stored = ways[asked.who](made_molecules(asked.records))
    rate = asked.records / watch.seconds
    tell(work="precalc", who=asked.who, size=asked.records, seconds=watch.seconds, rate=rate, results=stored)


if __name__ == "__main__":
    main()
