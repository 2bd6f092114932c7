"""A store is grown, measured, simulated onward and told of, each by the script that a person starts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_store_is_grown_measured_and_simulated(repository: Path, tmp_path: Path) -> None:
    """Small stores are measured at two sizes, and the simulation takes its costs from them and tells of both."""
    # when
    _run(
        repository / "bench" / "growth.py",
        *("--sizes", "2000", "20000", "--databases", "sqlite", "--repeats", "1", "--looked-at", "4000"),
        *("--into", str(tmp_path / "growth.json")),
    )
    measured = ("--measured", str(tmp_path / "growth.json"), "--into", str(tmp_path))
    _run(repository / "bench" / "simulate_scale.py", "--records", "1000000", "--hours", "2", *measured)

    # then
    small, large = json.loads((tmp_path / "growth.json").read_text())["runs"]["sqlite"]
    assert (small["records"], large["records"]) == (2_000, 20_000)
    assert (small["bulk"]["records"], large["bulk"]["records"]) == (0, 10_000)
    assert large["passes"]["one_in_100_stale"]["planned"] == 40
    assert large["passes"]["version_moved"]["planned"] == 4_000
    # Every tenth record was inferred by the engine and all others are copies of such: they take the same room.
    assert large["bytes_per_result"] == pytest.approx(small["bytes_per_result"], rel=0.2)
    (scenario,) = json.loads((tmp_path / "scale.json").read_text())["scenarios"]
    assert scenario["done_millions"][-1] == pytest.approx(1.0)
    assert "| 2,000 records | 20,000 records |" in (tmp_path / "SCALE.md").read_text()


def test_the_simulation_that_is_told_of_is_that_of_what_was_measured(repository: Path) -> None:
    """Each scenario that is written down has the costs of a database that was measured, and names its wall."""
    told = json.loads((repository / "bench" / "scale.json").read_text())
    measured = json.loads((repository / "bench" / "growth.json").read_text())["runs"]

    assert set(told["costs"]) == set(measured)
    for database, costs in told["costs"].items():
        largest = max(measured[database], key=lambda one: one["records"])
        assert costs["record_bytes"] == largest["bytes_per_record"]
    for scenario in told["scenarios"]:
        assert scenario["wall"] == max(scenario["busy"], key=lambda name: scenario["busy"][name])


def _run(script: Path, *options: str) -> None:
    subprocess.run([sys.executable, str(script), *options], cwd=script.parent, check=True, stdout=subprocess.DEVNULL)
