"""A precalculation that is killed again and again, at moments that a seed names."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from limner.systems.ersilia.made_molecules import made_molecules
from tests.processes import kill
from tests.systems.ersilia.calculating import Bench

KILLS = 20
WORKERS = 4
MOLECULES = 1_200
#: Each call takes a while, and is for ten molecules at most.
SLOW, TEN_A_CALL = "import time\ntime.sleep(0.1)", (0.1, 0.1, -1, -1, -1)
BAD = ["C1CC", "not a molecule", '""', "CC", "CC"]


def rows_of(bench: Bench, job: str) -> list[tuple[str, ...]]:
    """What a job published, and what it set aside."""
    return [tuple(row.values()) for row in [*bench.rows(job), *bench.set_aside(job)]]


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_twenty_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    """Killed twenty times with all its processes, the same command ends as one that nobody disturbed."""
    dice = random.Random(int(os.environ.get("CHAOS_SEED", "1")))
    rows = [*made_molecules(MOLECULES), *BAD]
    calm, killed = Bench(tmp_path / "calm"), Bench(tmp_path / "killed")
    calm.noting()
    killed.noting(SLOW, seconds=TEN_A_CALL)
    undisturbed = calm.run(calm.library(rows), workers=WORKERS, canary=False)
    library = killed.library(rows)
    typed = ("precalc", "eos0pln", "--library", str(library), "--workers", str(WORKERS), "--no-canary", "--json")

    dealt = 0
    for _ in range(KILLS):
        with subprocess.Popen(
            killed.words(*typed),
            cwd=killed.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                process.wait(timeout=dice.uniform(0.5, 8.0))
            except subprocess.TimeoutExpired:
                kill(process)
                dealt += 1
    outcome = killed.run(library, workers=WORKERS, canary=False)

    assert dealt > KILLS / 4, "it had ended before it was killed"
    assert outcome.counts == undisturbed.counts
    assert rows_of(killed, outcome.job) == rows_of(calm, undisturbed.job)
    # A kill costs no more than the shards that were in hand, one of each worker.
    shard = -(-MOLECULES // WORKERS)
    assert MOLECULES <= killed.predicted() <= MOLECULES + dealt * WORKERS * shard
    assert killed.run(library, workers=WORKERS, canary=False).inferred == 0
