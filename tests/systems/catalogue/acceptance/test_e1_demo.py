"""E1: the demonstration runs end to end in less than a minute, without a network."""

from pathlib import Path

import pytest

from tests.systems.demos import check_demo


@pytest.mark.slow
def test_e1_demo(tmp_path: Path) -> None:
    """It draws, infers, trains, plans, searches, audits and explains, and says where everything lies."""
    told = (
        "434 done, 1 failed",
        "SOURCE_TRUNCATED",
        "to infer: palette 0, features 0, aspect_ratio 0, codes 434, work_summary 0; pictures to fetch: 0",
        "434 values inferred",
        "missing 0, extra 0, stale 0, mixed 0, failed 1, skipped 0",
        "codes/pq by codes@1",
    )

    check_demo("catalogue", tmp_path, told=told)
