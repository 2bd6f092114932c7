"""What `limner models check FOLDER` says of a model package."""

from pathlib import Path

from limner.domain.models import FolderReport
from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.golden import Verdict, check_package
from limner.systems.ersilia.packages.metadata import FILES
from limner.systems.ersilia.packages.reading import HUB, find_packages, read_package


def check_folder(folder: Path, project: Path) -> FolderReport | None:
    """
    The verdict on the package in *folder*, with the environments of *project*; None where there is no package.

    A package that is only described, without its code, is run by the one of the same id that comes with the system.

    Raises:
        UsageError: one of its files is wrong.
    """
    if not any((folder / name).is_file() for name in FILES):
        return None
    package = read_package(folder)
    return report_of(
        check_package(package, code=None if package.run or package.served else _shipped(package), project=project)
    )


def report_of(verdict: Verdict) -> FolderReport:
    """*verdict* as every system tells it."""
    return FolderReport(
        model=f"{verdict.model} {verdict.release}",
        problems=verdict.problems,
        warnings=verdict.warnings,
        facts={
            "reproduced": verdict.reproduced,
            "deterministic": verdict.deterministic,
            "environment": dict(verdict.environment),
            "columns": list(verdict.columns),
            "seconds": [round(one, 3) for one in verdict.seconds],
        },
    )


def _shipped(package: Package) -> Package | None:
    return find_packages(HUB).get(package.id)
