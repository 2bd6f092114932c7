"""The interpreter that a package runs in, and the versions of its pinned packages as they are there."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from limner.systems.ersilia.packages.base import Needs, PackageWrong

#: Where environments of packages lie, seen from a project's folder.
ENVIRONMENTS = Path(".limner") / "environments"
_PATIENCE = timedelta(seconds=30)
_ASK = """
import importlib.metadata as m, json, sys
found = {"python": "%d.%d" % sys.version_info[:2]}
for name in sys.argv[1:]:
    try: found[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps(found))
"""


def folder_of(needs: Needs) -> Path:
    """Where the environment of one set of pins lies, or would lie: packages with the same pins share it."""
    told = "\n".join([needs.python or "", *(f"{name}=={version}" for name, version in sorted(needs.pins.items()))])
    return ENVIRONMENTS / f"py{needs.python or ''}-{sha256(told.encode()).hexdigest()[:8]}"


def own_interpreter(needs: Needs, *, project: Path | None = None) -> Path | None:
    """The interpreter of the environment that *project*, by default this folder, has for the pins; None without one."""
    found = (project or Path()).absolute() / folder_of(needs) / "bin" / "python"
    return found if needs.pins and found.exists() else None


def environment_of(needs: Needs, *, project: Path | None = None) -> dict[str, str]:
    """
    Python's minor version, and by name the versions of the pinned packages, where the package would run in *project*.

    Raises:
        PackageWrong: a pinned package is not installed there, or its interpreter does not answer.
    """
    return versions_in(own_interpreter(needs, project=project), needs.pins)


def versions_in(interpreter: Path | None, pins: Mapping[str, str]) -> dict[str, str]:
    """
    Python's minor version and those of the packages in *pins*, in the environment of *interpreter*; None is this one.

    Raises:
        PackageWrong: one of them is not installed there, or it does not answer.
    """
    found = _here(pins) if interpreter is None else _there(interpreter, pins)
    missing = [f"{name}=={version}" if version else name for name, version in pins.items() if name not in found]
    if missing:
        raise PackageWrong(f"The package needs {', '.join(sorted(missing))}, which is not installed here.")
    return found


def differences(needs: Needs, environment: Mapping[str, str]) -> list[str]:
    """What is pinned and is there in another version, as ``rdkit is 2026.9.1 here and pinned to 2022.9.5``."""
    wanted = {"python": needs.python or "", **needs.pins}
    return [
        f"{name} is {environment[name]} here and pinned to {version}"
        for name, version in wanted.items()
        if version and environment.get(name, version) != version
    ]


def _here(names: Mapping[str, str]) -> dict[str, str]:
    found = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}"}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _there(interpreter: Path, names: Mapping[str, str]) -> dict[str, str]:
    asked = [str(interpreter), "-I", "-c", _ASK, *names]
    try:
        said = subprocess.run(asked, capture_output=True, timeout=_PATIENCE.total_seconds(), check=True).stdout
        return {str(name): str(version) for name, version in json.loads(said).items()}
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise PackageWrong(f"The environment in {interpreter.parent.parent} does not answer: {error}") from error
