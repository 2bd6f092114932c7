"""Measures a model package at five sizes, for its metadata: `python -m tools.package_figures FOLDER…`."""

import sys
import time
from itertools import islice, product
from pathlib import Path

from limner.systems.ersilia.packages.base import SIZES, OutputRefused, Package
from limner.systems.ersilia.packages.command import own_folder, run_command
from limner.systems.ersilia.packages.reading import read_package

_RINGS = ("c1ccccc1", "C1CCCCC1", "c1ccncc1", "C1CCNCC1", "c1ccoc1", "c1ccsc1", "C1CC1", "C1OCCCC1", "c1ccc2ccccc2c1")
_LINKS = ("C(=O)O", "C(=O)N", "N", "O", "S(=O)(=O)N", "CC(=O)")


def molecules(number: int) -> list[str]:
    """Distinct molecules of the size of drugs: two rings, a link, and chains."""
    parts = product(range(1, 6), range(1, 6), _LINKS, _RINGS, _RINGS)
    return [f"{'C' * one}{ring}{'C' * other}{link}{last}" for one, other, link, ring, last in islice(parts, number)]


def figures(package: Package) -> list[float]:
    """Seconds for each of SIZES; -1 where it failed."""
    found = []
    for size in SIZES:
        with own_folder() as folder:
            began = time.perf_counter()
            try:
                run_command(package, molecules(size), folder=folder)
                found.append(round(time.perf_counter() - began, 2))
            except OutputRefused:
                found.append(-1.0)
    return found


def main() -> int:
    """Print the lines for each package's metadata.yml."""
    for name in sys.argv[1:]:
        package = read_package(Path(name))
        print(f"# {package.id}")
        for number, seconds in enumerate(figures(package), start=1):
            print(f"Computational Performance {number}: {seconds}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
