"""
Builds the environment that a package asks for: complete under its name, or not there.

A virtual environment knows its own path, so it is built where it stays, in a folder of its own, and the name by which
packages find it is a link that is set last. What a stopped command left is nobody's, and goes with the next one.
"""

import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from limner.app.lock import EngineLock
from limner.errors import UsageError
from limner.systems.ersilia.packages.base import Needs, PackageWrong
from limner.systems.ersilia.packages.environment import folder_of, versions_in
from limner.systems.ersilia.packages.interpreters import find_interpreter, find_uv
from limner.systems.ersilia.packages.pulling import Pulled, pull
from limner.systems.ersilia.packages.recipe import Recipe

_MINOR = re.compile(r"\d+\.\d+")
#: In an environment: what it was built from.
_NOTE = "limner.json"
_LIST = """
import importlib.metadata as m, json, sys
found = {d.metadata["Name"]: d.version for d in m.distributions()}
print(json.dumps({"python": "%d.%d.%d" % sys.version_info[:3], "packages": found}))
"""
_TAIL = 2_000


class _Note(Struct, frozen=True, kw_only=True):
    """What an environment was built from."""

    requirements: tuple[str, ...]
    options: tuple[str, ...]
    #: The version that was looked for; None where any would do.
    python: str | None
    day: str
    warnings: tuple[str, ...]


class _Held(Struct, frozen=True, kw_only=True):
    """What an environment says is in it."""

    python: str
    packages: dict[str, str]


class Environment(Struct, frozen=True, kw_only=True):
    """An environment that is there."""

    #: As seen from the project's folder.
    folder: Path
    #: ``3.10.13``.
    python: str
    #: Versions of all packages in it, by name.
    packages: Mapping[str, str]
    #: Bytes of its files.
    size: int
    #: Whether it was built just now.
    built: bool
    #: The day, UTC, as of which whatever the pins need was chosen: ``2023-11-25``. Empty where it is of the day on
    #: which it was built.
    day: str = ""
    #: A sentence each, of what is not as the package asks.
    warnings: tuple[str, ...] = ()


def build_environment(
    needs: Needs, recipe: Recipe, *, project: Path, python: str | None = None, again: bool = False
) -> Environment:
    """
    The environment of *needs* in the folder *project*: built from *recipe*, unless it is there already.

    *python*, ``3.11``, is used in place of the version that the recipe names. *again* builds it in any case; whoever
    uses the one before keeps what it has loaded.

    Raises:
        UsageError: there is no such Python here, another command is at it, or its packages cannot be installed; what
            was there before is there still.
    """
    place = project / folder_of(needs)
    place.parent.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        _sweep(place)
        built = again or not _there(place, recipe, python=python)
        if built:
            _build(place, recipe, needs=needs, python=python)
        return _told(place, project=project, built=built)


def _build(place: Path, recipe: Recipe, *, needs: Needs, python: str | None) -> None:
    interpreter = _interpreter(recipe, python=python)
    folder = place.with_name(f"{place.name}.{secrets.token_hex(4)}")
    try:
        _run([str(interpreter), "-m", "venv", str(folder)], doing="make the environment")
        pulled = pull(recipe, into=folder / "bin" / "python", uv=find_uv())
        try:
            versions_in(folder / "bin" / "python", needs.pins)
        except PackageWrong as error:
            raise UsageError(f"The environment was built and is not whole, so it is not used. {error}") from error
        _write_note(folder, recipe, pulled, python=python)
        _link(place, to=folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _sweep(place)


def _interpreter(recipe: Recipe, *, python: str | None) -> Path:
    version = python or recipe.python
    if python is not None and not _MINOR.fullmatch(python):
        raise UsageError(f"--python takes a minor version, as 3.11, and not {python}.")
    if version is None:
        return Path(sys.executable)
    found = find_interpreter(version)
    if found is None:
        asked = f"The package asks for Python {version}" if python is None else f"You ask for Python {version}"
        here = f"{sys.version_info[0]}.{sys.version_info[1]}"
        told = f"{asked}, which is neither on PATH nor in pyenv nor among uv's: install it, or take another one"
        raise UsageError(f"{told}: --python {here}. Then the environment is another one, and so is the version.")
    return found


def _there(place: Path, recipe: Recipe, *, python: str | None) -> bool:
    """Whether an environment is there that will do; one that somebody made by hand does."""
    if not (place / "bin" / "python").exists():
        return False
    note = _read_note(place)
    if note is None:
        return True
    same = (note.requirements, note.options) == (recipe.requirements, recipe.options)
    return same and python in (None, note.python)


def _told(place: Path, *, project: Path, built: bool) -> Environment:
    said = _run([str(place / "bin" / "python"), "-I", "-c", _LIST], doing="list what is in it")
    held = msgspec.json.decode(said, type=_Held)
    note = _read_note(place)
    return Environment(
        folder=place.relative_to(project),
        python=held.python,
        packages=dict(sorted(held.packages.items(), key=lambda item: item[0].lower())),
        size=sum(file.lstat().st_size for file in place.resolve().rglob("*")),
        built=built,
        day=note.day if note else "",
        warnings=note.warnings if note else (),
    )


def _link(place: Path, *, to: Path) -> None:
    """Have *place* lead to the folder *to*, beside it, from one moment to the next."""
    link = to.with_name(f"{to.name}.link")
    link.symlink_to(to.name)
    if place.is_dir() and not place.is_symlink():
        # Made by hand: no link that could be replaced.
        place.rename(to.with_name(f"{to.name}.before"))
    link.replace(place)


def _sweep(place: Path) -> None:
    """Remove what stopped commands and earlier builds left beside *place*."""
    kept = {place.resolve(), place.with_name(f"{place.name}.lock")}
    for found in place.parent.glob(f"{place.name}.*"):
        if found.is_symlink():
            found.unlink(missing_ok=True)
        elif found not in kept and found.resolve() not in kept:
            shutil.rmtree(found, ignore_errors=True)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the lock on *place*, which the operating system lets go of when this process ends."""
    lock = EngineLock(place.with_name(f"{place.name}.lock"))
    if not lock.take():
        raise UsageError(f"Process {lock.holder() or 'unknown'} is building {place.name}; ask again when it has ended.")
    try:
        yield
    finally:
        lock.release()


def _write_note(folder: Path, recipe: Recipe, pulled: Pulled, *, python: str | None) -> None:
    note = _Note(
        requirements=recipe.requirements,
        options=recipe.options,
        python=python or recipe.python,
        day=pulled.day,
        warnings=pulled.warnings,
    )
    (folder / _NOTE).write_bytes(msgspec.json.encode(note))


def _read_note(place: Path) -> _Note | None:
    """None in an environment that somebody made by hand."""
    try:
        return msgspec.json.decode((place / _NOTE).read_bytes(), type=_Note)
    except (OSError, msgspec.DecodeError):
        return None


def _run(words: list[str], *, doing: str) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip()[-_TAIL:]
        raise UsageError(f"{words[0]} could not {doing}. It said last: {last}") from error
