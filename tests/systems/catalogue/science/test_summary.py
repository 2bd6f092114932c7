"""What a work's images say about the work."""

import numpy as np
import pytest

from limner.systems.catalogue.summary import WorkSummary

EAST = np.array([1.0, 0.0], dtype=np.float32)
NORTH = np.array([0.0, 1.0], dtype=np.float32)


def test_w1_mean_is_unit_again() -> None:
    """Vectors are averaged and made unit again; the first image's colour stands for the work."""
    # when
    summary = WorkSummary().infer([[EAST, NORTH]], [[EAST, EAST]], [["#102030", "#ffffff"]])[0]

    # then
    assert isinstance(summary, dict)
    assert summary["palette"] == pytest.approx(np.sqrt([0.5, 0.5]))
    assert summary["features"] == pytest.approx([1.0, 0.0])
    assert (summary["average_color_hex"], summary["images"], summary["missing"]) == ("#102030", 2, 0)


def test_w1_missing_says_one() -> None:
    """An image that failed is counted as missing and changes no mean."""
    # when
    summary = WorkSummary().infer([[None, NORTH]], [[None, EAST]], [[None, "#ffffff"]])[0]

    # then
    assert isinstance(summary, dict)
    assert summary["palette"] == pytest.approx(NORTH)
    assert (summary["average_color_hex"], summary["images"], summary["missing"]) == ("#ffffff", 2, 1)


def test_absent_stays_absent() -> None:
    """A field for which no image has a value is left out, not invented; vectors that cancel out have no mean."""
    # when
    nothing, cancelled = WorkSummary().infer([[None], [EAST, -EAST]], [[None], [None, None]], [[None], [None, None]])

    # then
    assert nothing == {"images": 1, "missing": 1}
    assert cancelled == {"images": 2, "missing": 2}


def test_work_of_two_versions_is_refused_alone() -> None:
    """Vectors of different lengths are never averaged; the other work of the batch is done."""
    # given
    longer = np.ones(3, dtype=np.float32)

    # when
    mixed, well = WorkSummary().infer([[EAST, longer], [EAST]], [[EAST, EAST], [EAST]], [["#000000"] * 2, ["#000000"]])

    # then
    assert isinstance(mixed, ValueError)
    assert "different shapes" in str(mixed)
    assert isinstance(well, dict)


def test_uneven_lists_are_refused() -> None:
    """Each image needs one entry in each list, present or None."""
    assert isinstance(WorkSummary().infer([[EAST]], [[EAST, EAST]], [["#000000"]])[0], ValueError)
