"""Asks the installed systems about a model that lies in a folder."""

from pathlib import Path

from limner.app.declared import Declared, load_target
from limner.domain.models import FolderReport
from limner.errors import ConfigurationError, NotFound
from limner.settings import Project


def check_folder(folder: Path, *, project: Project) -> FolderReport:
    """
    What the first system says that knows what lies in *folder*.

    Raises:
        UsageError: a system knows it, and one of its files is wrong.
        NotFound: no system knows it.
    """
    asked = [system for system in Declared(project).systems.values() if system.check_folder]
    for system in asked:
        check = load_target(system.check_folder or "")
        if not callable(check):
            raise ConfigurationError(f"{system.check_folder} of the system {system.name} is no function.")
        report = check(folder, project.folder)
        if isinstance(report, FolderReport):
            return report
    names = ", ".join(sorted(system.name for system in asked)) or "none"
    raise NotFound(f"{folder} holds no model that a system knows; asked were: {names}.")
