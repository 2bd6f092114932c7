"""The inferrer of stage `predict`: a package as a worker gets it, run in this process or by its own command."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from limner.systems.ersilia.packages.archive import unpack
from limner.systems.ersilia.packages.base import Needs, OutputRefused, Package
from limner.systems.ersilia.packages.cells import Cells, cells_of_rows
from limner.systems.ersilia.packages.command import blankless, own_folder, run_command
from limner.systems.ersilia.packages.environment import environment_of, own_interpreter
from limner.systems.ersilia.packages.folder import read_folder
from limner.systems.ersilia.packages.in_process import load_function


class PackageInferrer:
    """
    One model package, unpacked once.

    It runs in this process where its metadata name a function and no environment of its own was built for its pins;
    otherwise each call is one of ``run.sh``.
    """

    version = "1"

    def __init__(self, model: Path, python: str | None = None, pins: Mapping[str, str] | None = None) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="package-", dir=blankless())
        self.package = read_folder(unpack(model, into=Path(self._home.name) / "model"))
        self._interpreter = own_interpreter(Needs(python=python, pins=pins or {}))
        self._function = load_function(self.package) if self.package.in_process and not self._interpreter else None
        if self._function is None:
            # Before the first call, whose time is limited.
            import_module("limner.systems.ersilia.packages.table_file")

    @staticmethod
    def environment(python: str | None = None, pins: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Python's version and those of the pinned packages, as they are where it would run."""
        return environment_of(Needs(python=python, pins=pins or {}))

    def infer(self, smiles: list[str]) -> list[object]:
        """One output a molecule; of columns that are not the declared ones no molecule has any."""
        try:
            cells = answered(self.package, smiles, function=self._function, interpreter=self._interpreter)
        except OutputRefused as refused:
            if refused.reason == "bad_columns":
                return [refused] * len(smiles)
            raise
        return self._wide(cells) if self.package.wide else self._narrow(cells)

    def close(self) -> None:
        """Remove what was unpacked."""
        self._home.cleanup()

    def _narrow(self, cells: Cells) -> list[object]:
        return [cells.refused.get(n) or {"values": list(row)} for n, row in enumerate(cells.rows())]

    def _wide(self, cells: Cells) -> list[object]:
        from limner.systems.ersilia.packages.wide import write_rows

        good = [row for row in range(len(cells)) if row not in cells.refused]
        outputs: list[object] = [cells.refused.get(row) for row in range(len(cells))]
        if not good:
            return outputs
        # Among the temporary files, which are removed once they are stored.
        number, name = tempfile.mkstemp(prefix=f"{self.package.id}-", suffix=".parquet")
        os.close(number)
        path = Path(name)
        write_rows(path, cells, rows=good)
        for place, row in enumerate(good):
            outputs[row] = {"file": path, "row": place}
        return outputs


def answered(
    package: Package,
    smiles: Sequence[str],
    *,
    function: Callable[[Sequence[str]], object] | None = None,
    interpreter: Path | None = None,
) -> Cells:
    """
    What *package* answers, by its *function* or else by its command, checked.

    Raises:
        OutputRefused: no row of it can be told apart.
    """
    if function is not None:
        return cells_of_rows(_called(function, smiles), columns=package.columns, count=len(smiles))
    # Only what runs by command is read from a table.
    from limner.systems.ersilia.packages.table_file import read_output

    with own_folder() as folder:
        path = run_command(package, smiles, folder=folder, interpreter=interpreter)
        return read_output(path, columns=package.columns, count=len(smiles))


def _called(function: Callable[[Sequence[str]], object], smiles: Sequence[str]) -> object:
    try:
        return function(smiles)
    except MemoryError:
        raise
    except Exception as error:  # a package's function may raise anything
        told = f"{type(error).__name__}: {error}"
        raise OutputRefused("command_failed", told, code="MODEL_ERROR") from error
