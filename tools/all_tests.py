"""
Runs every test, and the few that failed beside others once more, alone.

Two cores carry servers, brokers and workers of several tests at once, so a wait may be over before its turn came. What
fails alone fails the build; what passes alone is named, since a test that leans on a quiet machine is to be mended.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: More than so many are no matter of a busy machine.
_FEW = 3
_FAILED = 1
_MARKS = ("-m", "not chaos_full")
_LAST = Path(".pytest_cache/v/cache/lastfailed")


def main(arguments: Sequence[str]) -> int:
    """Run pytest with *arguments*; its exit status."""
    pytest = [sys.executable, "-m", "pytest", *_MARKS, *arguments]
    status = subprocess.call([*pytest, "--numprocesses", "auto", "--dist", "worksteal"])
    failed = sorted(json.loads(_LAST.read_text())) if status == _FAILED and _LAST.is_file() else []
    if not 0 < len(failed) <= _FEW:
        return status
    print(f"\nFAILED BESIDE OTHERS, run again alone: {', '.join(failed)}", flush=True)
    return subprocess.call([*pytest, "--numprocesses", "0", "--last-failed", "--last-failed-no-failures", "none"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
