"""One run of a package that nobody depends on: by its command, its server, or its function in another process."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np

from limner.systems.ersilia.packages.base import OutputRefused, Package
from limner.systems.ersilia.packages.cells import Cells, cells_of_rows
from limner.systems.ersilia.packages.command import own_folder, run_command
from limner.systems.ersilia.packages.folder import read_folder
from limner.systems.ersilia.packages.in_process import load_function
from limner.systems.ersilia.packages.table_file import read_output

_TAIL = 2_000


def by_command(package: Package, smiles: Sequence[str], *, limit: timedelta, interpreter: Path | None = None) -> Cells:
    """
    What its ``run.sh`` answers, whose ``python`` is *interpreter*, or the one that runs here.

    Raises:
        OutputRefused: it did not answer in time, or not with one row of the declared columns for each molecule.
    """
    with own_folder() as folder:
        path = run_command(package, smiles, folder=folder, interpreter=interpreter, limit=limit)
        return read_output(path, columns=package.columns, count=len(smiles))


def by_function(package: Package, smiles: Sequence[str], *, limit: timedelta) -> Cells:
    """
    What its function answers, called in a process of its own.

    Raises:
        OutputRefused: as of :func:`by_command`.
    """
    with own_folder() as folder:
        given, answered = folder / "input.msgpack", folder / "output.msgpack"
        given.write_bytes(msgspec.msgpack.encode(list(smiles)))
        asked = [sys.executable, "-P", "-m", __name__, str(package.folder), str(given), str(answered)]
        try:
            ended = subprocess.run(
                asked, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=limit.total_seconds(), check=False
            )
        except subprocess.TimeoutExpired as error:
            told = f"{package.in_process} did not answer within {limit.total_seconds():g} s"
            raise OutputRefused("command_failed", told, code="MODEL_ERROR") from error
        if ended.returncode != 0:
            last = ended.stderr[-_TAIL:].decode(errors="replace").strip()
            told = f"{package.in_process} ended with exit status {ended.returncode}. It said last: {last}"
            raise OutputRefused("command_failed", told, code="MODEL_ERROR")
        rows = msgspec.msgpack.decode(answered.read_bytes())
    return cells_of_rows(rows, columns=package.columns, count=len(smiles))


def by_server(package: Package, smiles: Sequence[str], *, limit: timedelta, allow_hosts: Sequence[str]) -> Cells:
    """
    What its server answers, which is a public one or listed in *allow_hosts*.

    Raises:
        OutputRefused: as of :func:`by_command`; or it cannot be reached, or its address may not be called.
    """
    # Only served packages need an HTTP client.
    from limner.addresses import AddressGuard
    from limner.errors import AddressRefused
    from limner.systems.ersilia.packages.served import ServerAway, ServerFailed, answered_by

    with AddressGuard(allow_hosts=allow_hosts).client(total=limit) as client:
        try:
            return answered_by(package.served or "", smiles, columns=package.columns, client=client)
        except (AddressRefused, ServerAway, ServerFailed) as error:
            raise OutputRefused("command_failed", str(error), code="MODEL_UNAVAILABLE") from error


def main(code: Path, given: Path, answered: Path) -> None:
    """Answer a file of molecules with a file of rows, as the package's function gives them."""
    smiles: list[str] = msgspec.msgpack.decode(given.read_bytes())
    rows = load_function(read_folder(code))(smiles)
    plain = rows.tolist() if isinstance(rows, np.ndarray) else [[_plain(cell) for cell in row] for row in list(rows)]  # type: ignore[call-overload]  # whatever a package's function answers; what is no list ends this process
    answered.write_bytes(msgspec.msgpack.encode(plain))


def _plain(cell: object) -> object:
    return cell.item() if isinstance(cell, np.generic) else cell


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
