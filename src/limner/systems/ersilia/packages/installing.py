"""What `limner models install MODEL|FOLDER` does for a model package: an environment of its own, from its pins."""

from pathlib import Path

from limner.domain.models import FolderReport
from limner.errors import UsageError
from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.building import build_environment
from limner.systems.ersilia.packages.environment import differences, environment_of
from limner.systems.ersilia.packages.metadata import FILES
from limner.systems.ersilia.packages.reading import HUB, find_packages, read_package
from limner.systems.ersilia.packages.recipe import read_recipe
from limner.systems.ersilia.pipeline import OWN


def install_model(reference: str, project: Path, *, python: str | None, again: bool) -> FolderReport | None:
    """
    The environment of a package in the folder *project*, which need hold nothing else; None where there is no package.

    *reference* is the package's folder, or its id among the project's own packages and those that come with the system.

    Raises:
        UsageError: it cannot be built; the sentence says what to change.
    """
    package = _package(reference, project=project)
    if package is None:
        return None
    if package.served is not None:
        raise UsageError(f"The package {package.id} runs at {package.served}, so it needs no environment here.")
    found = build_environment(package.needs, read_recipe(package), project=project, python=python, again=again)
    environment = environment_of(package.needs, project=project)
    other = [
        f"{told[0].upper()}{told[1:]}, so what it predicts there is of another version."
        for told in differences(package.needs, environment)
    ]
    return FolderReport(
        model=f"{package.id} {package.release}",
        warnings=(*found.warnings, *other),
        facts={
            "folder": str(found.folder),
            "built": found.built,
            "python": found.python,
            "bytes": found.size,
            "day": found.day,
            "packages": dict(found.packages),
        },
    )


def _package(reference: str, *, project: Path) -> Package | None:
    folder = Path(reference)
    if any((folder / name).is_file() for name in FILES):
        return read_package(folder)
    return find_packages(HUB, project / OWN).get(reference)
