"""Programs that are too large for the environment: fetched once for every clone of this user, as a lock pins them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


class Missing(Exception):
    """They cannot be fetched; the text says why."""


def fetched(name: str, lock: Path) -> Path:
    """
    The folder *name* of the user's cache, into which what *lock* pins is installed where it is not there yet.

    Raises:
        Missing: it cannot be installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner"
    found = cache / name
    if found.is_dir():
        return found
    making = cache / f"{name}.{os.getpid()}"
    making.mkdir(parents=True)
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    # Compiled now, as pip does by itself: each process that finds it uncompiled would do so again.
    by_uv = ["pip", "install", "--compile-bytecode", "--python", sys.executable]
    program = [uv, *by_uv] if uv else [sys.executable, "-m", "pip", "install"]
    words = ["--quiet", "--no-deps", "--require-hashes", "--target", str(making), "-r", str(lock)]
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(making, ignore_errors=True)
        raise Missing(f"{name} cannot be fetched: {done.stderr.strip()[-500:]}")
    try:
        making.rename(found)
    except OSError:
        # Another process was first.
        shutil.rmtree(making, ignore_errors=True)
    return found
