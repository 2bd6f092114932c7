"""The environment that a package asks for, as install.yml, a Dockerfile or a table beside the packages says."""

import csv
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from limner.systems.ersilia.packages.base import Needs, PackageWrong

#: Beside packages of the flat layout: ``model_id,python,pins``.
TABLE = "environments.csv"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?(?:==([A-Za-z0-9.+!_-]+))?")
_BASE_IMAGE = re.compile(r"^FROM\s+\S*?(?:py|python:?)(3)\.?(\d{1,2})", re.MULTILINE | re.IGNORECASE)


def read_needs(folder: Path, *, model: str) -> Needs:
    """
    Python's version and the pins of the package in *folder*; empty where it names none.

    Raises:
        PackageWrong: install.yml cannot be read.
    """
    if (folder / "install.yml").is_file():
        return _of_install(folder / "install.yml")
    if (folder / "Dockerfile").is_file():
        return _of_dockerfile((folder / "Dockerfile").read_text(encoding="utf-8"))
    table = folder.parent / TABLE
    if table.is_file():
        with table.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("model_id") == model:
                    return Needs(python=row.get("python") or None, pins=_pinned((row.get("pins") or "").split()))
    return Needs()


def _of_install(path: Path) -> Needs:
    """``python: "3.10"`` and commands, each ``[pip, rdkit, 2022.9.5]`` or ``pip install rdkit==2022.9.5``."""
    import yaml  # the one format that needs it

    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PackageWrong(f"{path} cannot be read: {error}") from error
    if not isinstance(said, dict):
        raise PackageWrong(f"{path} holds no list of commands; write python: and commands:.")
    pins: dict[str, str] = {}
    for command in said.get("commands") or ():
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
        pins |= _of_command(words)
    python = said.get("python")
    return Needs(python=None if python is None else str(python), pins=pins)


def _of_dockerfile(text: str) -> Needs:
    pins: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        if words[:1] == ["RUN"]:
            for command in " ".join(words[1:]).split("&&"):
                pins |= _of_command(command.split())
    image = _BASE_IMAGE.search(text)
    return Needs(python=f"{image[1]}.{image[2]}" if image else None, pins=pins)


def _of_command(words: list[str]) -> dict[str, str]:
    """The packages that one command installs."""
    if words[:2] == ["python", "-m"]:
        words = words[2:]
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
