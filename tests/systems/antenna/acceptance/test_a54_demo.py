"""A54: the demonstration runs end to end in less than a minute, without a network, and checks itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pace import allowed


@pytest.mark.slow
def test_a54_demo(tmp_path: Path) -> None:
    """It draws a night, asks, watches, hears the callback, compares with what was drawn, and explains one insect."""
    # given
    started = time.monotonic()

    # when
    done = subprocess.run(
        [str(Path(sys.executable).with_name("limner")), "demo", "antenna"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    # then
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < allowed(60)
    for told in (
        "COMPLETED_WITH_FAILURES, 5/5",
        "1 failed with SOURCE_TRUNCATED",
        "token and signature are right",
        "found 30 of 30 insects",
        "followed 18 of 18 from one picture to the next; 0 taken for another",
        "limner why detections",
        "detect/blobs: version",
        "classify/size-shape: version",
        str(tmp_path / "limner-demo-antenna" / "pictures"),
    ):
        assert told in done.stdout, done.stdout
    assert (tmp_path / "limner-demo-antenna" / "drawn.jpg").is_file()
