"""Starts a new project: copies a template, plain or a system's own, into an empty folder."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from limner.domain.systems import System
from limner.errors import UsageError

#: ``package:folder`` of the project that no system brings.
PLAIN = "limner.app:template"
_IGNORED = ".limner/\n__pycache__/\n"
_LEFT_OUT = ("__pycache__", ".pytest_cache", ".limner")


def start_project(folder: Path, *, system: System | None = None) -> list[str]:
    """
    Write a new project into *folder*, which is made if need be; the paths of its files, sorted.

    Raises:
        UsageError: the folder is not empty or cannot be written, or the system brings no template.
    """
    if system is not None and system.template is None:
        raise UsageError(f"The system {system.name} brings no project to begin with; leave --from out.")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"The folder {folder} is not empty; name a new one.")
    template = _resource(PLAIN if system is None or system.template is None else system.template)
    try:
        written = {path: _write(source, folder / path) for path, source in _walk(template)}
        if ".gitignore" not in written:
            (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error
    return sorted({*written, ".gitignore"})


def _resource(place: str) -> Traversable:
    package, _, path = place.partition(":")
    found = files(package).joinpath(path)
    if not found.is_dir():
        raise UsageError(f"The project to begin with, {place}, is not installed.")
    return found


def _walk(folder: Traversable, *, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for item in folder.iterdir():
        if item.name in _LEFT_OUT or item.name.endswith(".pyc"):
            continue
        if item.is_dir():
            yield from _walk(item, prefix=f"{prefix}{item.name}/")
        else:
            yield f"{prefix}{item.name}", item


def _write(source: Traversable, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.write_bytes(source.read_bytes())
