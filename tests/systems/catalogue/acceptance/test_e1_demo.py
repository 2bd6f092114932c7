"""E1: the demonstration runs end to end in less than a minute, without a network."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pace import allowed


@pytest.mark.slow
def test_e1_demo(tmp_path: Path) -> None:
    """It draws, infers, trains, plans, searches, audits and explains, and says where everything lies."""
    # given
    started = time.monotonic()

    # when
    done = subprocess.run(
        [str(Path(sys.executable).with_name("limner")), "demo", "catalogue"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    # then
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < allowed(60)
    for told in (
        "434 done, 1 failed",
        "SOURCE_TRUNCATED",
        "to infer: palette 0, features 0, aspect_ratio 0, codes 434, work_summary 0; pictures to fetch: 0",
        "434 values inferred",
        "missing 0, extra 0, stale 0, mixed 0, failed 1, skipped 0",
        "codes/pq by codes@1",
        str(tmp_path / "limner-demo-catalogue" / "pictures"),
    ):
        assert told in done.stdout
