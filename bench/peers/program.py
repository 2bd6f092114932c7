"""Runs a peer's own worker program."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def program(name: str, *options: str, folder: Path) -> Iterator[None]:
    """The program *name* of this environment at work in *folder*, where it finds the module ``peers``."""
    here = Path(__file__).resolve().parent.parent
    command = [str(Path(sys.executable).with_name(name)), *options]
    with (folder / "peer.log").open("a") as log:
        environ = os.environ | {"PYTHONPATH": str(here)}
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
