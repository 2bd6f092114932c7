"""The inferrer of stage `predict`: a package as a worker gets it, run in this process or by its own command."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from limner.systems.ersilia.packages.archive import unpack
from limner.systems.ersilia.packages.base import Needs, OutputRefused, Package
from limner.systems.ersilia.packages.command import blankless, own_folder, run_command
from limner.systems.ersilia.packages.environment import environment_of, own_interpreter
from limner.systems.ersilia.packages.in_process import load_function
from limner.systems.ersilia.packages.outputs import outputs_of

if TYPE_CHECKING:
    from limner.systems.ersilia.packages.cells import Cells


class PackageInferrer:
    """
    One model package, unpacked once.

    It runs in this process where its metadata name a function and no environment of its own was built for its pins;
    otherwise each call is one of ``run.sh``.
    """

    version = "1"

    def __init__(self, model: Path, python: str | None = None, pins: Mapping[str, str] | None = None) -> None:
        # Whoever only asks for the environment waits for neither pydantic nor NumPy.
        from limner.systems.ersilia.packages.folder import read_folder

        self._home = tempfile.TemporaryDirectory(prefix="package-", dir=blankless())
        self.package = read_folder(unpack(model, into=Path(self._home.name) / "model"))
        self._interpreter = own_interpreter(Needs(python=python, pins=pins or {}))
        self._function = load_function(self.package) if self.package.in_process and not self._interpreter else None
        # Before the first call, whose time is limited.
        import_module(f"limner.systems.ersilia.packages.{'cells' if self._function else 'table_file'}")

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
        return outputs_of(cells, package=self.package)

    def close(self) -> None:
        """Remove what was unpacked."""
        self._home.cleanup()


def answered(
    package: Package,
    smiles: Sequence[str],
    *,
    function: Callable[[Sequence[str]], object] | None = None,
    interpreter: Path | None = None,
) -> "Cells":
    """
    What *package* answers, by its *function* or else by its command, checked.

    Raises:
        OutputRefused: no row of it can be told apart.
    """
    if function is not None:
        from limner.systems.ersilia.packages.cells import cells_of_rows

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
