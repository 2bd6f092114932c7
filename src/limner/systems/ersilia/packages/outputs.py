"""From what a package answered to the outputs of its stage: values, or rows of one Parquet file for each call."""

import os
import tempfile
from pathlib import Path

from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.cells import Cells


def outputs_of(cells: Cells, *, package: Package) -> list[object]:
    """One output for each row of *cells*: what is wrong with it, or its values as *package* is narrow or wide."""
    return _wide(cells, package=package) if package.wide else _narrow(cells)


def _narrow(cells: Cells) -> list[object]:
    return [cells.refused.get(n) or {"values": list(row)} for n, row in enumerate(cells.rows())]


def _wide(cells: Cells, *, package: Package) -> list[object]:
    from limner.systems.ersilia.packages.wide import write_rows

    good = [row for row in range(len(cells)) if row not in cells.refused]
    outputs: list[object] = [cells.refused.get(row) for row in range(len(cells))]
    if not good:
        return outputs
    # Among the temporary files, which are removed once they are stored.
    number, name = tempfile.mkstemp(prefix=f"{package.id}-", suffix=".parquet")
    os.close(number)
    path = Path(name)
    write_rows(path, cells, rows=good)
    for place, row in enumerate(good):
        outputs[row] = {"file": path, "row": place}
    return outputs
