"""Measures a model package at five sizes, for its metadata: `python -m tools.package_figures FOLDER…`."""

import sys
import time
from pathlib import Path

from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.packages.base import SIZES, OutputRefused, Package
from limner.systems.ersilia.packages.command import own_folder, run_command
from limner.systems.ersilia.packages.reading import read_package


def figures(package: Package) -> list[float]:
    """Seconds for each of SIZES; -1 where it failed."""
    found = []
    for size in SIZES:
        with own_folder() as folder:
            began = time.perf_counter()
            try:
                run_command(package, made_molecules(size), folder=folder)
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
