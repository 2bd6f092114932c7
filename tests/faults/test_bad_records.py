"""A record that kills, hangs or eats memory fails alone, and can be tried again when the cause is gone."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.project import Project

PIPELINE = """
from datetime import timedelta

from limner import Pipeline, RetryPolicy, Stage

pipeline = Pipeline("moody", collection="things", stages=[
    Stage("mood", infer="work:mood", reads={"n": "n"}, batch=64, timeout=timedelta(seconds=1), memory_mb=300,
          retry=RetryPolicy(delay=timedelta(seconds=0.05))),
])
"""

INFERRERS = '''
"""An inferrer that does to its process what the worst record asks for, for as long as the file ``cause`` is there."""

import os
import time
from pathlib import Path


def mood(n: list[int]) -> list[int]:
    if Path("cause").exists():
        if 13 in n:
            os._exit(1)
        if 31 in n:
            time.sleep(3600)
        if 47 in n:
            hog = bytearray(2_000_000_000)
    with open("calls.log", "a") as log:
        log.write("".join(f"mood {one}\\n" for one in n))
    return [2 * one for one in n]
'''

BAD = {"r13": "ATTEMPTS_EXHAUSTED", "r31": "STAGE_TIMEOUT", "r47": "OUT_OF_MEMORY"}


@pytest.mark.slow
def test_three_bad_records_of_64_fail_alone_and_are_mended(tmp_path: Path) -> None:
    """61 of 64 are done, each inferred once; the three say why they failed; a retry finishes just them."""
    # given
    project = Project(tmp_path / "project", pipeline=PIPELINE, inferrers=INFERRERS)
    source = project.fill("in.jsonl", ({"id": f"r{n}", "n": n} for n in range(64)))
    (project.folder / "cause").touch()

    # when
    status = project.limner("run", "moody", source)

    # then
    ((job, state, counts),) = project.jobs()
    assert (status, state) == (1, "done_with_failures")
    assert counts == {"open": 0, "done": 61, "failed": 3, "skipped": 0, "cancelled": 0}
    assert failures(project) == BAD
    well = Counter({("mood", f"r{n}"): 1 for n in range(64) if f"r{n}" not in BAD})
    assert project.calls() == well

    # when
    (project.folder / "cause").unlink()
    status = project.limner("retry", job)

    # then
    assert status == 0
    ((_, state, counts),) = project.jobs()
    assert (state, counts["done"], counts["failed"]) == ("done", 64, 0)
    assert project.calls() == well + Counter({("mood", record): 1 for record in BAD})
    assert project.leftovers() == []


def failures(project: Project) -> dict[str, str]:
    """The code of each failed record, as ``limner failures --json`` tells."""
    before = len(project.printed())
    project.limner("failures", "--json")
    told = json.loads(project.printed()[before:])
    return {row["id"]: row["code"] for row in told["failures"]}
