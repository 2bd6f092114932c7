"""What a stage's inferrers import, read from their source: files of the project, and modules of installed packages."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

import limner
from limner.errors import UsageError

#: What is decoded for a name in an annotation, whether or not the inferrer imports it.
_DECODED = {"Image": ("PIL", "numpy"), "ndarray": ("numpy",), "NDArray": ("numpy",)}
_SYSTEMS = "limner.systems."


class Imported(Struct, frozen=True, kw_only=True):
    """What some modules need."""

    #: Files of the project, relative to its folder.
    files: tuple[str, ...]
    #: Modules that are no part of the project, by the first part of their names, each with a file that imports it.
    modules: dict[str, str]


def imports_of(modules: Iterable[str], *, project: Path) -> Imported:
    """
    All that *modules* import, directly or not; imports within functions and for annotations count, too.

    What is imported by a name that is made at run time cannot be seen.

    Raises:
        UsageError: a file is no Python.
    """
    places = _Places(project)
    open_modules, seen = list(modules), set[str]()
    files: set[Path] = set()
    outside: dict[str, str] = {}
    while open_modules:
        name = open_modules.pop()
        if name in seen:
            continue
        seen.add(name)
        found = places.files(name)
        if not found:
            outside.setdefault(name.partition(".")[0], "the stage")
            continue
        files.update(found)
        for imported in _imported_by(found[-1], module=name):
            if places.files(imported):
                open_modules.append(imported)
            elif not places.within(imported):
                outside.setdefault(imported.partition(".")[0], found[-1].name)
    own = sorted(str(path.relative_to(project)) for path in files if path.is_relative_to(project))
    return Imported(files=tuple(own), modules={name: by for name, by in outside.items() if name != "limner"})


class _Places:
    """Where modules stand that are followed: in the project's folder, and in Limner's own systems."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._limner = Path(limner.__file__).parent.parent

    def files(self, module: str) -> list[Path]:
        """The files of *module*, those of the packages that it lies in first; none where it is not followed."""
        root = self._limner if module.startswith(_SYSTEMS) else self._project
        if module.partition(".")[0] == "limner" and root is not self._limner:
            return []
        parts = module.split(".")
        path = root.joinpath(*parts)
        last = next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
        if last is None:
            return []
        above = [root.joinpath(*parts[:count], "__init__.py") for count in range(1, len(parts))]
        return [*(p for p in above if p.is_file()), last]

    def within(self, name: str) -> bool:
        """Whether *name* is something in a module that is followed, such as a function."""
        return bool(self.files(name.rpartition(".")[0]))


def _imported_by(file: Path, *, module: str) -> Iterator[str]:
    """The modules that *file* imports by name; what it imports from a package may be one, and may be none."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no Python that can be read: {error}") from error
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package=package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.arg):
            yield from _decoded(node)


def _base(node: ast.ImportFrom, *, package: str) -> str:
    """The package that names are imported from."""
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _decoded(argument: ast.arg) -> Iterator[str]:
    """The packages by which an argument is decoded, as its annotation asks."""
    if argument.annotation is None:
        return
    for node in ast.walk(argument.annotation):
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if name in _DECODED:
            yield from _DECODED[name]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (package for word, packages in _DECODED.items() if word in node.value for package in packages)
