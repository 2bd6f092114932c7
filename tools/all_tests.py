"""
Runs every test: side by side, and then, one after the other, those that hold a promise in seconds.

Two cores carry servers, brokers and workers of several tests at once; how long something takes says nothing there.
"""

import subprocess
import sys
from collections.abc import Sequence

_SIDE_BY_SIDE = ("-m", "not chaos_full and not timed", "--numprocesses", "auto", "--dist", "worksteal")
_ALONE = ("-m", "timed and not chaos_full", "--numprocesses", "0")


def main(arguments: Sequence[str]) -> int:
    """Run pytest twice with *arguments*; the first exit status that is not 0."""
    found = [subprocess.call([sys.executable, "-m", "pytest", *words, *arguments]) for words in (_SIDE_BY_SIDE, _ALONE)]
    return next((status for status in found if status), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
