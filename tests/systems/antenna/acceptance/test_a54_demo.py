"""A54: the demonstration runs end to end in less than a minute, without a network, and checks itself."""

from pathlib import Path

import pytest

from tests.systems.demos import check_demo


@pytest.mark.slow
@pytest.mark.timed
def test_a54_demo(tmp_path: Path) -> None:
    """It draws a night, asks, watches, hears the callback, compares with what was drawn, and explains one insect."""
    told = (
        "COMPLETED_WITH_FAILURES, 5/5",
        "1 failed with SOURCE_TRUNCATED",
        "token and signature are right",
        "found 30 of 30 insects",
        "followed 18 of 18 from one picture to the next; 0 taken for another",
        "limner why detections",
        "detect/blobs: version",
        "classify/size-shape: version",
    )

    made = check_demo("antenna", tmp_path, told=told)

    assert (made / "drawn.jpg").is_file()
