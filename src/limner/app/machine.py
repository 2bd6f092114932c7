"""What a machine says of itself: age of this process, memory of it and its children, and its graphics card."""

import os
import shutil
import subprocess
import time
from datetime import timedelta
from pathlib import Path

from msgspec import Struct

#: Seconds that the card's own tool may take.
_PATIENCE = 5


class Gpu(Struct, frozen=True, kw_only=True):
    """The first graphics card; nothing where there is none."""

    name: str | None = None
    used_bytes: int | None = None


def gpu() -> Gpu:
    """The first graphics card, as its own tool shows it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Gpu()
    asked = [tool, "--query-gpu=name,memory.used", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=_PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return Gpu()
    name, _, used = said.partition("\n")[0].rpartition(",")
    used = used.strip()
    return Gpu(name=name.strip() or None, used_bytes=int(used) * (1 << 20) if used.isdecimal() else None)


def age() -> timedelta:
    """How long ago this process began; nothing where that cannot be told."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        began = ticks / os.sysconf("SC_CLK_TCK")
        return timedelta(seconds=max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - began))
    except (OSError, AttributeError):
        return timedelta()


def memory_of(process: int | None = None) -> int | None:
    """Bytes that a process (this one if None) and its descendants hold in memory; None where that cannot be told."""
    own = process or os.getpid()
    try:
        total = _resident(own)
    except OSError:
        return None
    for child in _children(own):
        total += memory_of(child) or 0
    return total


def _resident(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _children(process: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in Path(f"/proc/{process}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    except OSError:
        return found
    return found
