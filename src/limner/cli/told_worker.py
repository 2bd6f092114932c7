"""A worker as ``limner worker`` starts it, told on standard input what to do; it ends when that line is cut."""

import os
import signal
import sys
import threading
import time

import msgspec

from limner.app.far_worker import FarWorker
from limner.app.ray_actor import Told
from limner.cli.output import warn
from limner.cli.root import status_of
from limner.cli.worker import made_here
from limner.errors import LimnerError
from limner.settings import load_project

#: Seconds within which a worker whose line is cut gives back what it has in hand; then it ends all the same.
_HURRY = 5


def main() -> int:
    """Work as the first line says, until it is told to stop or the line is cut; the exit status."""
    # Unbuffered: a thread that waits for more would hold a buffer's lock when the interpreter ends.
    with open(0, "rb", buffering=0, closefd=False) as line:
        told = msgspec.json.decode(line.readline(), type=Told)
    os.environ.update(told.environment)
    try:
        made = made_here(load_project(told.folder, options=told.options), told.worker)
        threading.Thread(target=_hold, args=[made], name="line", daemon=True).start()
        made.run()
    except LimnerError as error:
        warn(f"Error: {error}")
        return status_of(error)
    return 0


def _hold(made: FarWorker) -> None:
    """Wait until the line is cut: whoever started this worker is gone, and others are given its place by now."""
    while os.read(0, 1):
        pass
    made.hurry()
    time.sleep(_HURRY)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
