"""What the benchmarks share: a project in a folder, a clock around a piece of work, and one line of JSON at the end."""

import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


class Stopwatch:
    """Seconds that a block took."""

    seconds = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Measure the block."""
    watch = Stopwatch()
    began = time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - began


@contextmanager
def project(files: Mapping[str, str]) -> Iterator[Path]:
    """A folder that holds *files* and is gone afterwards; on the disk of the current folder, so that fsync costs."""
    with TemporaryDirectory(prefix=".bench-", dir=".") as place:
        folder = Path(place).resolve()
        for name, text in files.items():
            (folder / name).write_text(text)
        yield folder


def rows_of(count: int, *, prefix: str = "") -> Iterator[dict[str, object]]:
    """*count* small records; their ids begin with *prefix*."""
    return ({"id": f"{prefix}r{n}", "n": n} for n in range(count))


def write_lines(file: Path, count: int, *, prefix: str = "") -> Path:
    """A file of *count* small records as JSON lines, whose ids begin with *prefix*."""
    with file.open("w") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows_of(count, prefix=prefix))
    return file


def peak_mb() -> int:
    """
    The most memory that this process held, in megabytes; what its children held is not counted.

    ``ru_maxrss`` would not do where the kernel tells better: a new process starts with what its parent held.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return next(int(line.split()[1]) // 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM:"))


def tell(**figures: object) -> None:
    """Print the result: one JSON object on one line."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    json.dump(rounded, sys.stdout)
    print()
