"""The engine lock: one process at a time runs the engine over a store."""

import fcntl
import os
from pathlib import Path

from limner.store.dialect import Leadership


class EngineLock:
    """A lock file; the operating system lets go of it when the process dies, however it dies."""

    #: Whether another process, on another machine perhaps, may wait to take over.
    shared = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Try to take the lock; whether this process holds it now."""
        if self._handle is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        self._handle = handle
        return True

    def holder(self) -> int | None:
        """The process that holds it, as far as is known."""
        try:
            return int(self._path.read_text().strip() or 0) or None
        except (OSError, ValueError):
            return None

    def release(self) -> None:
        """Let go of the lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


class SharedLock:
    """A lock of the database, for processes on many machines; it goes with the connection that holds it."""

    shared = True

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership

    def take(self) -> bool:
        """Try to take the lock; whether this process holds it now."""
        return self._leadership.take()

    def holder(self) -> int | None:
        """The process that holds it: not known here."""
        return None

    def release(self) -> None:
        """Let go of the lock."""
        self._leadership.release()


def alive(process: int) -> bool:
    """Whether a process of this machine lives."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def name_of(process: int) -> str:
    """*process* by a name that no other one ever has: its number is given out again, in a container at every start."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(process)
    # The 22nd field of the file is when it started; what waits to be collected by its parent lives no more.
    return "" if state == "Z" else f"{process} {fields[18]} {boot}"


def lives(name: str) -> bool:
    """Whether the process that :func:`name_of` named lives."""
    number = name.partition(" ")[0]
    return number.isdigit() and alive(int(number)) and name_of(int(number)) == name
