"""
Installs packages into an environment, by uv where it is there and else by pip.

A package pins some of what it needs, and what these need in turn was not pinned when it was made: what is newest today
may not work with them (NumPy 2 beside an RDKit of 2023). So uv chooses as on the day on which the newest pin appeared.
"""

import subprocess
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from limner.errors import UsageError
from limner.systems.ersilia.packages.recipe import Recipe

_TAIL = 2_000


class Pulled(Struct, frozen=True, kw_only=True):
    """How an installation was made."""

    #: As of which day, UTC, was chosen what is not pinned: ``2023-11-25``; empty for today.
    day: str = ""
    #: A sentence each, of what is less sure than it could be.
    warnings: tuple[str, ...] = ()


class _Failed(Exception):
    """A tool did not do what it was asked; the text is the end of what it said."""


def pull(recipe: Recipe, *, into: Path, uv: Path | None) -> Pulled:
    """
    Install what *recipe* lists into the environment of the interpreter *into*; by its own pip where *uv* is None.

    Raises:
        UsageError: it cannot be installed; the sentence holds the end of what the tool said.
    """
    try:
        if uv is None:
            _run([str(into), "-m", "pip", "install", *recipe.options, *recipe.requirements])
            return _as_of_today(recipe, "uv is not installed here, and pip does not choose by day")
        return _by_uv(uv, recipe, into=into)
    except _Failed as error:
        told = f"{', '.join(recipe.requirements)} could not be installed. {'pip' if uv is None else 'uv'} said last"
        raise UsageError(f"{told}: {error}") from error


def _by_uv(uv: Path, recipe: Recipe, *, into: Path) -> Pulled:
    # A package's own processes compile nothing, so that its folder stays as it is.
    install = [str(uv), "pip", "install", "--compile-bytecode", "--python", str(into), *recipe.options]
    day = _appeared(uv, recipe, into=into)
    if day is None:
        _run([*install, *recipe.requirements])
        silent = "the index does not say when the pinned packages appeared"
        return _as_of_today(recipe, silent if recipe.pins else "no version is pinned")
    ends = (day + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    told = f"{day:%Y-%m-%d}"
    try:
        _run([*install, "--exclude-newer", ends, *recipe.requirements])
    except _Failed:
        _run([*install, *recipe.requirements])
        return _as_of_today(recipe, f"it does not resolve with what the index had on {told}")
    return Pulled(day=told)


def _appeared(uv: Path, recipe: Recipe, *, into: Path) -> datetime | None:
    """The beginning of the day on which the newest pin appeared, as files for *into*; None where nobody knows."""
    if not recipe.pins:
        return None
    asked = [str(uv), "pip", "compile", "-", "--no-deps", "--format", "pylock.toml", "--quiet", "--python", str(into)]
    locked = tomllib.loads(_run([*asked, *recipe.options], given="\n".join(recipe.pins)))
    newest = None
    for package in locked.get("packages", ()):
        # A wheel, where there is one: that is what is installed.
        files = package.get("wheels") or [package.get("sdist") or {}]
        times = [file["upload-time"] for file in files if isinstance(file.get("upload-time"), datetime)]
        if not times:
            return None
        newest = max(*times, newest or times[0])
    return newest and newest.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _as_of_today(recipe: Recipe, why: str) -> Pulled:
    told = f"Whatever {', '.join(recipe.requirements)} need is of today, since {why}; the check shows whether it works."
    return Pulled(warnings=(told,))


def _run(words: list[str], *, given: str = "") -> str:
    ended = subprocess.run(words, capture_output=True, text=True, check=False, input=given)
    if ended.returncode != 0:
        raise _Failed((ended.stderr or ended.stdout).strip()[-_TAIL:])
    return ended.stdout
