"""Inferrers of every temper, as a user's project would hold them, and what calls them."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from limner.domain.outputs import AnyOutput
from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.domain.tasks import ModelRef, Runtime, Task
from limner.domain.values import Value, encode
from limner.worker.calls import Load

#: Written to ``tempers.py`` in a project; each number is one record.
TEMPERS = '''
"""Inferrers of every temper."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

version = "1"


def double(number: list[int]) -> list[int]:
    return [2 * one for one in number]


def moody(number: list[int]) -> list:
    """Does to the whole batch what the worst record in it asks for."""
    with open("calls.txt", "a") as log:
        log.write(" ".join(map(str, number)) + "\\n")
    for one in number:
        if one == -1:
            os._exit(7)
        if one == -2:
            time.sleep(60)
        if one == -3:
            raise ValueError("three is a crowd")
        if one == -4:
            hog = bytearray(1_000_000_000)
        if one == -5:
            return number[1:]
        if one == -6:
            os.kill(os.getpid(), signal.SIGSEGV)
        if one == -7:
            sys.exit("enough")
        if one == -8:
            while True:
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        if one == -9:
            subprocess.Popen(["sleep", "60"])
            os._exit(9)
    return [ValueError("thirteen") if one == 13 else 2 * one for one in number]


def chatty(number: int) -> int:
    print("printed", number)
    print("complained", number, file=sys.stderr)
    os.write(1, b"written\\n")
    return number


def slow(number: list[int]) -> list[int]:
    with open("pids.txt", "a") as log:
        log.write(f"{os.getpid()}\\n")
    time.sleep(0.3)
    return number


def littering(number: int) -> str:
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    if number < 0:
        os._exit(1)
    return path


def pid(number: list[int]) -> list[int]:
    return [os.getpid()] * len(number)


def hungry(number: list[int]) -> list[int]:
    """Needs 50 MB for each record of its batch."""
    with open("calls.txt", "a") as log:
        log.write(" ".join(map(str, number)) + "\\n")
    held = [bytearray(50_000_000) for one in number]
    return number


kept = []


def leaking(number: list[int]) -> list[int]:
    """Keeps 20 MB of each call."""
    kept.append(b"x" * 20_000_000)
    return [os.getpid()] * len(number)


def large(number: list[int]) -> list[bytes]:
    return [bytes(one) for one in number]


def pixels(picture: list["Image.Image"]) -> list[list[int]]:
    with open("calls.txt", "a") as log:
        log.write(" ".join(f"{one.width}x{one.height}" for one in picture) + "\\n")
    return [[one.width, one.height, *one.getpixel((0, 0))] for one in picture]


def width(picture: list[Path]) -> list[int]:
    return [one.stat().st_size for one in picture]


def size(picture: list[Path]) -> list[int]:
    return [one.stat().st_size for one in picture]


class Loaded:
    version = "1"

    def __init__(self, model: Path):
        self.text = model.read_text()
        self.ending = model.suffix

    def infer(self, number: list[int]) -> list[str]:
        return [self.text + self.ending] * len(number)


class Reluctant:
    version = "1"

    def __init__(self):
        if os.path.exists("broken"):
            raise RuntimeError("not today")
        if os.path.exists("deadly"):
            os._exit(3)

    def infer(self, number: list[int]) -> list[int]:
        return number


class Vignette:
    version = "1"

    def infer(self, number: list[int]) -> list[dict]:
        made = []
        for one in number:
            descriptor, path = tempfile.mkstemp(".bin")
            os.write(descriptor, b"written %d" % one)
            os.close(descriptor)
            if one == -1:
                os._exit(7)
            picture = None if one == 0 else b"picture %d" % one
            made.append({"note": "no number" if one == 13 else one, "picture": picture, "file": Path(path)})
        return made


class Sketch:
    version = "1"

    def infer(self, number: list[int]) -> list[dict]:
        drawn = []
        for one in number:
            descriptor, path = tempfile.mkstemp(".svg")
            os.write(descriptor, b"<svg/>")
            os.close(descriptor)
            drawn.append({"drawing": Path(path)})
        return drawn


class Drawing:
    version = "1"

    def infer(self, number: list[int]) -> list[dict]:
        drawn = []
        for one in number:
            path = Path(f"drawing-{one}.svg").resolve()
            path.write_text(f"<svg>{one}</svg>")
            drawn.append({"drawing": path})
        return drawn
'''


def lines(path: Path) -> list[str]:
    """The lines of a file, none where there is no file yet."""
    return path.read_text().splitlines() if path.exists() else []


def write_project(folder: Path) -> Path:
    """A project folder with the tempers in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tempers.py").write_text(TEMPERS)
    return folder


def runtime(
    name: str,
    *,
    batch: int = 8,
    timeout: timedelta = timedelta(seconds=20),
    memory_mb: int | None = None,
    isolation: str = "process",
    model: ModelRef | None = None,
    outputs: Mapping[str, AnyOutput] | None = None,
    reads: Mapping[str, FileRead | None] | None = None,
) -> Runtime:
    """What a worker needs in order to run the inferrer *name* of the project."""
    return Runtime(
        address=f"test.{name.lower()}/default",
        infer=f"tempers:{name}",
        kind=StageKind.MAP,
        params={},
        model=model,
        reads=reads or {"number": None},
        outputs=outputs or {},
        batch=batch,
        timeout=timeout,
        isolation=isolation,
        memory_mb=memory_mb,
    )


def load(name: str, *, project: Path, model_path: Path | None = None, **options: Value) -> Load:
    """Asks to load the inferrer *name* of the project."""
    return Load(
        runtime=runtime(name, **options),
        model_path=str(model_path) if model_path else None,
        device=None,
        project=str(project),
        allow_hosts=(),
    )


def column(numbers: Sequence[Value]) -> dict[str, list[bytes]]:
    """The column of the input ``number``."""
    return {"number": [encode(number) for number in numbers]}


def task(runtime: Runtime, numbers: Sequence[Value], *, number: int = 1, **options: Value) -> Task:
    """A task with one value a record."""
    columns = options.pop("columns", None) or column(numbers)
    count = len(next(iter(columns.values())))
    return Task(
        id=number,
        attempt=options.pop("attempt", 1),
        runtime=runtime,
        version=options.pop("version", "aa"),
        records=[f"record-{index}" for index in range(count)],
        keys=[1000 + index for index in range(count)],
        columns=columns,
        prior=options.pop("prior", [b""] * count),
        asked=[hashlib.sha256(str(index).encode()).digest()[:16] for index in range(count)],
        **options,
    )
