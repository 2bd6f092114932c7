"""The environment that a package asks for, as install.yml, a Dockerfile or a table beside the packages says."""

import csv
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from limner.systems.ersilia.packages.base import Needs, PackageWrong

#: Beside packages of the flat layout: ``model_id,python,pins``.
TABLE = "environments.csv"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?(?:==([A-Za-z0-9.+!_-]+))?")
_BASE_IMAGE = re.compile(r"^FROM\s+\S*?(?:py|python:?)(3)\.?(\d{1,2})", re.MULTILINE | re.IGNORECASE)


class Commands(Struct, frozen=True, kw_only=True):
    """What a package says of its environment."""

    #: The file that says so.
    file: Path
    #: Python's version, as it is written.
    python: str | None = None
    #: Each as its words, in either form: ``pip install rdkit==2023.9.2``, or ``pip rdkit 2023.9.2``.
    commands: tuple[tuple[str, ...], ...] = ()


def read_needs(folder: Path, *, model: str) -> Needs:
    """
    Python's version and the pins of the package in *folder*; empty where it names none.

    Raises:
        PackageWrong: install.yml cannot be read.
    """
    said = read_commands(folder, model=model)
    if said is None:
        return Needs()
    pins: dict[str, str] = {}
    for command in said.commands:
        pins |= _of_command(list(command))
    return Needs(python=said.python, pins=pins)


def read_commands(folder: Path, *, model: str) -> Commands | None:
    """
    What makes the environment of the package in *folder*; None where it does not say.

    Raises:
        PackageWrong: install.yml cannot be read.
    """
    if (folder / "install.yml").is_file():
        return _of_install(folder / "install.yml")
    if (folder / "Dockerfile").is_file():
        return _of_dockerfile(folder / "Dockerfile")
    table = folder.parent / TABLE
    if table.is_file():
        with table.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("model_id") == model:
                    pip = ("pip", "install", *(row.get("pins") or "").split())
                    return Commands(file=table, python=row.get("python") or None, commands=(pip,))
    return None


def without_module(words: Sequence[str]) -> list[str]:
    """A command without the ``python -m`` before it."""
    return list(words[2:] if tuple(words[:2]) == ("python", "-m") else words)


def _of_install(path: Path) -> Commands:
    """``python: "3.10"`` and commands, each ``[pip, rdkit, 2022.9.5]`` or ``pip install rdkit==2022.9.5``."""
    import yaml  # the one format that needs it

    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PackageWrong(f"{path} cannot be read: {error}") from error
    if not isinstance(said, dict):
        raise PackageWrong(f"{path} holds no list of commands; write python: and commands:.")
    commands = [
        tuple(shlex.split(command) if isinstance(command, str) else [str(word) for word in command])
        for command in said.get("commands") or ()
    ]
    python = said.get("python")
    return Commands(file=path, python=None if python is None else str(python), commands=tuple(commands))


def _of_dockerfile(path: Path) -> Commands:
    text = path.read_text(encoding="utf-8")
    commands: list[tuple[str, ...]] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        if words[:1] == ["RUN"]:
            commands += [tuple(command.split()) for command in " ".join(words[1:]).split("&&")]
    image = _BASE_IMAGE.search(text)
    python = f"{image[1]}.{image[2]}" if image else None
    return Commands(file=path, python=python, commands=tuple(filter(None, commands)))


def _of_command(words: list[str]) -> dict[str, str]:
    """The packages that one command installs."""
    words = without_module(words)
    if words[:1] not in (["pip"], ["pip3"], ["conda"]):
        return {}
    if words[1:2] == ["install"]:
        return _pinned(word for word in words[2:] if not word.startswith("-"))
    # The list form: manager, package, version, and perhaps options.
    version = words[2] if len(words) > 2 and not words[2].startswith("-") else ""
    return {_canonical(words[1]): version} if len(words) > 1 else {}


def _pinned(words: Iterable[str]) -> dict[str, str]:
    found = {}
    for word in words:
        match = _PIN.fullmatch(word.strip("'\""))
        if match:
            found[_canonical(match[1])] = match[2] or ""
    return found


def _canonical(name: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()
