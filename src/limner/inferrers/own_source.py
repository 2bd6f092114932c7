"""
A project's own Python, read from its source at every import.

Python takes a compiled file for current where the size of the source and the second of its last change are those noted
in it. Of two texts that were written within one second, the older one could so run under the version of the newer.
"""

import importlib.util
import os
import sys
from collections.abc import Mapping
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path

#: Folders of installed packages, which an environment inside a project has too: what was compiled of them is used.
_INSTALLED = frozenset({"site-packages", "dist-packages"})
#: Python's own library, and Limner: a project that lies above them, as in a home folder or a clone, does not own them.
_OTHERS = (Path(os.__file__).parent, Path(__file__).parent.parent)
_own: set[Path] = set()


class SourceLoader(SourceFileLoader):
    """Compiles a module at every import, and neither reads nor writes what was compiled of it."""

    def path_stats(self, path: str) -> Mapping[str, object]:
        """Tell nothing of the file, without which no compiled one is looked for."""
        raise OSError(f"what was compiled of {path} is left alone")


def read_from_source(folder: Path | str) -> None:
    """From now on, have this process import what lies below *folder* from its source alone."""
    own = Path(folder).absolute()
    if own in _own:
        return
    if not _own:
        sys.path_hooks.insert(0, _finder)
    _own.add(own)
    for entry in [entry for entry in sys.path_importer_cache if _below(Path(entry), own)]:
        del sys.path_importer_cache[entry]


def spec_of(name: str, file: Path) -> ModuleSpec | None:
    """What a module called *name* is made of, from the source in *file* alone; None where it is no Python file."""
    if file.suffix not in SOURCE_SUFFIXES:
        return None
    return importlib.util.spec_from_file_location(name, file, loader=SourceLoader(name, str(file)))


def _finder(entry: str) -> FileFinder:
    """What finds modules in a folder of the project."""
    folder = Path(entry).absolute()
    if not any(_below(folder, own) for own in _own) or not folder.is_dir():
        raise ImportError("not below a project's folder", path=entry)
    return FileFinder(str(folder), (ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceLoader, SOURCE_SUFFIXES))


def _below(folder: Path, own: Path) -> bool:
    """Whether *folder* is *own* or lies in it, and holds what the project itself brings."""
    if not folder.is_relative_to(own) or not _INSTALLED.isdisjoint(folder.relative_to(own).parts):
        return False
    return not any(folder.is_relative_to(other) and not own.is_relative_to(other) for other in _OTHERS)
