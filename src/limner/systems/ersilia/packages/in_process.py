"""Calls a package's own function in this process: molecules in, rows out, no file and no start-up for each call."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from limner.systems.ersilia.packages.base import Package, PackageWrong


def load_function(package: Package) -> Callable[[Sequence[str]], object]:
    """
    The function that the package's metadata name as ``In Process``: ``predict(smiles) -> rows, or an array``.

    Raises:
        PackageWrong: there is none, or its module cannot be imported.
    """
    place, _, name = (package.in_process or "").partition(":")
    found = getattr(load_module(package), name, None)
    if not callable(found):
        raise PackageWrong(f"{package.id}: {place} has no function {name}.")
    function: Callable[[Sequence[str]], object] = found
    return function


def load_module(package: Package) -> ModuleType:
    """
    The module of that function.

    Raises:
        PackageWrong: there is none, or it cannot be imported.
    """
    place = (package.in_process or "").partition(":")[0]
    path = package.framework / place
    if not place or not path.is_file():
        raise PackageWrong(f"The package {package.id} names no function that is there: {package.in_process!r}.")
    spec = importlib.util.spec_from_file_location(f"package_{package.id}_{path.stem}", path)
    if spec is None:
        raise PackageWrong(f"The package {package.id}: {place} is no Python module.")
    module = importlib.util.module_from_spec(spec)
    # What lies beside it may be imported by it, as when it is run as a script.
    sys.path.append(str(path.parent))
    try:
        # From its source as it stands, and never as it was compiled from an earlier text of the same second.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except Exception as error:  # a package's module may raise anything while it is imported
        raise PackageWrong(f"{package.id}: {place} cannot be imported: {type(error).__name__}: {error}") from error
    return module
