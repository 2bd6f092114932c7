"""Runs a package's run.sh over a file of molecules, in a new folder of its own for each call."""

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from limner.systems.ersilia.packages.base import OutputRefused, Package, PackageWrong

#: So much of what a command said last is told, in bytes.
_TAIL = 2_000


def run_command(
    package: Package,
    smiles: Sequence[str],
    *,
    folder: Path,
    interpreter: Path | None = None,
    limit: timedelta | None = None,
) -> Path:
    """
    The file that the package wrote for *smiles*, in the new and empty *folder*, whose path holds no blank.

    ``python`` in its script is *interpreter*, or the one that runs here. Past *limit* it is ended with all that it
    started; without one, that is for the caller to do, in whose process group it runs.

    Raises:
        OutputRefused: it ended with another status than 0, was ended, or wrote no output.
        PackageWrong: it has no run.sh.
    """
    script = package.run
    if script is None:
        raise PackageWrong(f"The package {package.id} has no run.sh in {package.framework}, so it cannot be run.")
    given, answered, work = folder / "input.csv", folder / "output.csv", folder / "work"
    work.mkdir()
    framework = _without_blanks(package.framework.resolve(), link=folder / "framework")
    _write_input(given, smiles)
    said = folder / "said.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(
            ["bash", str(script.resolve()), str(framework), str(given), str(answered)],
            cwd=work,
            env=_surroundings(interpreter, folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=limit is not None,
        )
        status = _ended(process, limit=limit)
    if status != 0:
        told = f"run.sh ended with exit status {status}" if status > 0 else f"run.sh was ended by {_signal(-status)}"
        raise OutputRefused("command_failed", f"{told}. It said last: {_tail(said)}", code="MODEL_ERROR")
    if not answered.is_file():
        told = f"run.sh ended well and wrote no output. It said last: {_tail(said)}"
        raise OutputRefused("command_failed", told, code="MODEL_ERROR")
    return answered


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A new folder among the temporary files whose path holds no blank, removed with all that is in it."""
    path = Path(tempfile.mkdtemp(prefix="package-", dir=blankless()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def blankless() -> str:
    """
    A folder for temporary files whose path holds no blank, since scripts of packages do not quote their arguments.

    Raises:
        PackageWrong: there is none.
    """
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if not any(character.isspace() for character in folder) and os.access(folder, os.W_OK):
            return folder
    raise PackageWrong("Packages need a folder for temporary files whose path holds no blank; set TMPDIR to one.")


def _without_blanks(path: Path, *, link: Path) -> Path:
    """*path*, or a link to it where blanks would take it apart."""
    if not any(character.isspace() for character in str(path)):
        return path
    link.symlink_to(path)
    return link


def _write_input(path: Path, smiles: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["smiles"])
        rows.writerows([one] for one in smiles)


def _surroundings(interpreter: Path | None, folder: Path) -> dict[str, str]:
    """The variables of this process, with the package's own ``python`` first on PATH."""
    # Not resolved: the python of a virtual environment is a link, and what it is depends on where it lies.
    home = (interpreter or Path(sys.executable)).parent
    path = f"{home}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def _ended(process: "subprocess.Popen[bytes]", *, limit: timedelta | None) -> int:
    try:
        return process.wait(None if limit is None else limit.total_seconds())
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        seconds = limit.total_seconds() if limit else 0
        told = f"run.sh did not end within {seconds:g} s"
        raise OutputRefused("command_failed", told, code="MODEL_ERROR") from error


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return file.read().decode(errors="replace").strip() or "nothing."
