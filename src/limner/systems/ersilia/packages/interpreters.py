"""Finds the Python interpreter that a package asks for: this one, on PATH, in pyenv, or among uv's own."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

_PATIENCE = timedelta(seconds=30)
_ASK = "import sys, venv; print('%d.%d' % sys.version_info[:2])"


def find_interpreter(version: str) -> Path | None:
    """An interpreter of the minor *version*, ``3.10``, that answers; None where this machine has none."""
    return next((path for path in _candidates(version) if _answers(path, version)), None)


def find_uv() -> Path | None:
    """The program uv: the one beside this interpreter, or else on PATH; None where there is none that runs."""
    found = (Path(sys.executable).parent / "uv", shutil.which("uv"))
    return next((Path(place) for place in found if place and _said([str(place), "--version"]) is not None), None)


def _candidates(version: str) -> Iterator[Path]:
    """Where an interpreter of *version* may be; what pyenv puts on PATH may not answer, so all are looked at."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        yield Path(sys.executable)
    for place in os.get_exec_path():
        yield Path(place) / f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for folder in sorted((pyenv / "versions").glob(f"{version}.*"), key=_patch, reverse=True):
        yield folder / "bin" / "python"
    uv = find_uv()
    if uv is not None:
        managed = _said([str(uv), "python", "find", "--managed-python", "--no-python-downloads", version])
        if managed:
            yield Path(managed)


def _patch(folder: Path) -> int:
    digits = folder.name.split(".")[2]
    return int(digits) if digits.isdigit() else -1


def _answers(path: Path, version: str) -> bool:
    return path.is_file() and _said([str(path), "-I", "-c", _ASK]) == version


def _said(words: list[str]) -> str | None:
    """What a program printed; None where it cannot be run, or fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        ended = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=_PATIENCE.total_seconds(),
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return ended.stdout.strip()
    return None
