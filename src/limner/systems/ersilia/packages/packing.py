"""A package as one file, ready to be added to the registry."""

from pathlib import Path

from limner.errors import UsageError
from limner.systems.ersilia.packages.archive import write_archive
from limner.systems.ersilia.packages.base import Package, PackageWrong


def pack(package: Package, *, into: Path) -> Path:
    """
    Write the package as ``<id>.zip`` into the folder *into*, and say where; its SHA-256 is the package's digest.

    Raises:
        UsageError: it has no ``run.sh`` and is served nowhere, or holds a link that leads out of it.
    """
    if package.run is None and package.served is None:
        raise UsageError(f"The package {package.id} has no run.sh in {package.framework}, so it cannot be run; add it.")
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{package.id}.zip"
    try:
        with path.open("wb") as file:
            write_archive(package.folder, file)
    except PackageWrong as error:
        raise UsageError(str(error)) from error
    return path
