"""Finds and reads model packages; what is wrong with one is a sentence for the user."""

from pathlib import Path

from limner.errors import UsageError
from limner.systems.ersilia.packages.base import Package, PackageWrong
from limner.systems.ersilia.packages.folder import read_folder
from limner.systems.ersilia.packages.metadata import FILES

#: Packages that come with the system.
HUB = Path(__file__).resolve().parent.parent / "hub"


def read_package(folder: Path) -> Package:
    """
    The model package in *folder*.

    Raises:
        UsageError: it is none, or one of its files is wrong; the sentence names the file and what is wrong.
    """
    try:
        return read_folder(folder)
    except PackageWrong as error:
        raise UsageError(str(error)) from error


def find_packages(*folders: Path) -> dict[str, Package]:
    """
    The packages that lie in *folders*, each in a folder of its own, by id and in its order; a later folder wins.

    Raises:
        UsageError: one of them is wrong, or its folder is not named by its id.
    """
    found: dict[str, Package] = {}
    for folder in folders:
        for place in sorted(folder.iterdir()) if folder.is_dir() else ():
            if any((place / name).is_file() for name in FILES):
                package = read_package(place)
                if package.id != place.name:
                    raise UsageError(f"{place} holds the package {package.id}; name the folder {package.id}.")
                found[package.id] = package
    return dict(sorted(found.items()))
