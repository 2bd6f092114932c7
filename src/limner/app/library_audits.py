"""What the installed systems say of the jobs that worked on the rows of a file."""

from pathlib import Path

from limner.app.app import App
from limner.app.declared import load_target
from limner.domain.systems import LibraryReport
from limner.errors import ConfigurationError, NotFound


def library_reports(app: App, library: Path) -> list[LibraryReport]:
    """
    A report of each job over *library*.

    Raises:
        NotFound: no job of this project worked on the file as it is now.
    """
    found: list[LibraryReport] = []
    for system in app.declared.systems.values():
        if system.audit_library is not None:
            audit = load_target(system.audit_library)
            if not callable(audit):
                raise ConfigurationError(f"{system.audit_library} of the system {system.name} is no function.")
            found += audit(app, library)
    if not found:
        raise NotFound(f"No job of this project went over {library} as it is now; look at: limner jobs")
    return found
