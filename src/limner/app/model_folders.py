"""Asks the installed systems about models that lie in folders."""

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
    reports, names = _asked(project, "check_folder", folder, project.folder)
    if reports:
        return reports[0]
    raise NotFound(f"{folder} holds no model that a system knows; asked were: {names}.")


def install_model(reference: str, *, project: Project, python: str | None, again: bool) -> FolderReport:
    """
    What the first system did that knows the model *reference*: built the environment that it asks for.

    *python* is a version, ``3.11``, in place of the model's own. *again* builds what is there already.

    Raises:
        UsageError: it cannot be built; the sentence says what to change.
        NotFound: no system knows it.
    """
    reports, names = _asked(project, "install_model", reference, project.folder, python=python, again=again)
    if reports:
        return reports[0]
    raise NotFound(f"{reference} is no model that a system knows how to install; asked were: {names}.")


def _asked(project: Project, does: str, *given: object, **options: object) -> tuple[list[FolderReport], str]:
    """The report of the first system whose target *does* knows the model, and the names of all that were asked."""
    asked = {name: getattr(system, does) for name, system in Declared(project).systems.items() if getattr(system, does)}
    for name, target in asked.items():
        function = load_target(target)
        if not callable(function):
            raise ConfigurationError(f"{target} of the system {name} is no function.")
        report = function(*given, **options)
        if isinstance(report, FolderReport):
            return [report], ""
    return [], ", ".join(sorted(asked)) or "none"
