"""Work H: what a plain install takes, how fast `limner --help` is, and how long from a clone to the first result."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from measuring import project, stopwatch, tell
from pipeline import INFERRERS, PIPELINE

REPOSITORY = Path(__file__).resolve().parent.parent
#: What is measured is what was installed, and not what the caller's shell points at.
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LIMNER_", "UV_COMP"))}


def measure_help(python: Path, *, times: int) -> float:
    """Median seconds of ``limner --help``, once it is in the page cache."""
    command = [str(python.parent / "limner"), "--help"]
    took = []
    for _ in range(times + 1):
        with stopwatch() as watch:
            subprocess.run(command, check=True, capture_output=True, env=ENVIRON)
        took.append(watch.seconds)
    return statistics.median(took[1:])


def first_result(python: Path, folder: Path) -> int:
    """Results that stand after a first run of a tiny pipeline by the installed command."""
    (folder / "pipeline.py").write_text(PIPELINE)
    (folder / "work.py").write_text(INFERRERS)
    (folder / "in.jsonl").write_text('{"id": "r1", "n": 7}\n')
    command = [
        str(python.parent / "limner"),
        "--project",
        str(folder),
        "run",
        "tiny",
        str(folder / "in.jsonl"),
        "--json",
    ]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRON).stdout
    return told.count('"inferred": 2')


def install(folder: Path) -> Path:
    """A plain install of a clone in a new environment; its Python."""
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder / "clone")], check=True)
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    # Copied, not linked from uv's cache, so that the size is what an install takes.
    plain = [uv, "pip", "install", "--quiet", "--link-mode", "copy", "--python", str(python), str(folder / "clone")]
    subprocess.run(plain, check=True, env=ENVIRON)
    return python


def megabytes(folder: Path) -> float:
    """What the files under *folder* take."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_symlink()) / 1e6


def packages(python: Path) -> int:
    """How many distributions are installed beside *python*."""
    count = "import importlib.metadata as m; print(len({d.name for d in m.distributions()}))"
    told = subprocess.run([str(python), "-I", "-c", count], check=True, capture_output=True, text=True)
    return int(told.stdout)


def main() -> None:
    """Measure a new install, or the environment that this script runs in."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--here", action="store_true", help="Measure this environment; installs nothing.")
    parser.add_argument("--times", type=int, default=20)
    asked = parser.parse_args()
    with project({}) as folder:
        (folder / "first").mkdir()
        with stopwatch() as watch:
            python = Path(sys.executable) if asked.here else install(folder)
            results = first_result(python, folder / "first")
        site = next((python.parent.parent / "lib").glob("python3*/site-packages"))
        tell(
            work="H",
            who="limner",
            size=packages(python),
            packages=packages(python),
            megabytes=round(megabytes(site), 1),
            first_result_s=watch.seconds,
            first_results=results,
            help_s=measure_help(python, times=asked.times),
        )


if __name__ == "__main__":
    main()
