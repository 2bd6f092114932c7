"""Folders of one process's own, which the next one to start removes if it could not do so itself."""

import contextlib
import fcntl
import os
import secrets
import shutil
from pathlib import Path

#: What the names of folders begin with in which inferrers' temporary files lie.
SCRATCH = "limner-inferrer-"


class OwnFolder:
    """A new folder in *parent*, named with *prefix*; it is locked until it is closed, or its process ends."""

    def __init__(self, parent: Path, *, prefix: str = "") -> None:
        while True:
            self.path = parent / f"{prefix}{secrets.token_hex(6)}"
            self.path.mkdir(mode=0o700)
            try:
                self._held_open = os.open(self.path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            fcntl.flock(self._held_open, fcntl.LOCK_EX)
            # A process that starts at the same moment may have taken the lock first, and the folder for dead.
            if self.path.exists():
                return
            os.close(self._held_open)

    def close(self) -> None:
        """Remove the folder with all that is in it; closing twice does nothing."""
        if self._held_open >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._held_open)
            self._held_open = -1


def remove_the_dead(parent: Path, *, prefix: str = "") -> None:
    """Remove the folders in *parent* whose processes did not live to do so; those of the living are locked."""
    for folder in parent.glob(f"{prefix}*"):
        # Another user's folder, a file, or one that somebody else removes at this moment is passed over.
        with contextlib.suppress(OSError):
            held_open = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held_open, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held_open)
