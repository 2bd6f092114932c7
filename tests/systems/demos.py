"""Demonstrations of systems, run as a user types them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path


def check_demo(system: str, folder: Path, *, told: Iterable[str], environment: Mapping[str, str] | None = None) -> Path:
    """Run ``limner demo SYSTEM`` in *folder*: it ends well within a minute and says all that; the project it made."""
    # given
    started = time.monotonic()

    # when
    done = subprocess.run(
        [str(Path(sys.executable).with_name("limner")), "demo", system],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )

    # then
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < 60
    made = folder / f"limner-demo-{system}"
    for words in (*told, str(made / "pictures")):
        assert words in done.stdout, done.stdout
    return made
