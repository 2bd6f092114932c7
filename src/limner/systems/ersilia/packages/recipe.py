"""What is to be installed for a package: the pip commands of its install.yml or Dockerfile, and nothing else."""

import re
import shlex
from collections.abc import Sequence

from msgspec import Struct

from limner.errors import UsageError
from limner.systems.ersilia.packages.base import Package, PackageWrong
from limner.systems.ersilia.packages.pins import Commands, read_commands, without_module

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]*\])?(==[A-Za-z0-9.+!_-]+)?")
#: Options that say where packages are found, by how they may be written.
_PLACES = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
}
#: Options that change nothing in a new environment.
_IDLE = {"--no-cache-dir", "-U", "--upgrade", "-q", "--quiet", "--no-input", "--user", "--disable-pip-version-check"}


class Recipe(Struct, frozen=True, kw_only=True):
    """What makes the environment of a package, as pip and uv take it."""

    #: ``3.10``; None where any will do.
    python: str | None
    #: ``rdkit==2023.9.2``, in the order of the package's commands.
    requirements: tuple[str, ...]
    #: Where packages are found besides, each as one word of pip's and uv's.
    options: tuple[str, ...] = ()

    @property
    def pins(self) -> tuple[str, ...]:
        """Those that name their version."""
        return tuple(one for one in self.requirements if "==" in one)


def read_recipe(package: Package) -> Recipe:
    """
    What is to be installed for *package*.

    Raises:
        UsageError: it asks for nothing, or for what is no package with an exact version from an index.
    """
    try:
        said = read_commands(package.folder, model=package.id)
    except PackageWrong as error:
        raise UsageError(str(error)) from error
    requirements: list[str] = []
    options: list[str] = []
    for command in said.commands if said else ():
        words = _arguments(command, said=said, model=package.id)
        _sort(words, requirements=requirements, options=options, model=package.id)
    if said is None or not requirements:
        told = f"The package {package.id} pins nothing, so it runs with what is installed here"
        raise UsageError(f"{told}; an environment of its own would be built from install.yml or a Dockerfile.")
    return Recipe(
        python=_minor(said.python),
        requirements=tuple(dict.fromkeys(requirements)),
        options=tuple(dict.fromkeys(options)),
    )


def _arguments(command: Sequence[str], *, said: Commands | None, model: str) -> list[str]:
    """What follows ``pip install``, in whichever form it is written."""
    words = without_module(command)
    if words[:1] not in (["pip"], ["pip3"]) or len(words) < 2:
        place = said.file.name if said else "it"
        told = f"The package {model} cannot be installed: {place} asks for `{shlex.join(command)}`"
        raise UsageError(f"{told}, and only `pip install` of packages is carried out.")
    if words[1] == "install":
        return words[2:]
    name, rest = words[1], words[2:]
    if rest and not rest[0].startswith("-"):
        return [f"{name}=={rest[0]}", *rest[1:]]
    return [name, *rest]


def _sort(words: list[str], *, requirements: list[str], options: list[str], model: str) -> None:
    """Add each of *words* to what it belongs to."""
    left = iter(word.strip("'\"") for word in words)
    for word in left:
        name, equals, value = word.partition("=")
        if word in _IDLE:
            continue
        if name in _PLACES:
            options.append(f"{_PLACES[name]}={value if equals else next(left, '')}")
        elif _REQUIREMENT.fullmatch(word):
            requirements.append(word)
        else:
            told = f"The package {model} cannot be installed: it asks pip for `{word}`"
            raise UsageError(f"{told}, and only packages with or without an exact version are: rdkit==2023.9.2.")


def _minor(python: str | None) -> str | None:
    """``3.10`` of ``3.10.13``."""
    return ".".join(python.split(".")[:2]) if python else None
