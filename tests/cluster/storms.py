"""One storm: a job at work on a cluster, blows in an order that a seed says, and what is left compared with calm."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from tests.cluster.cluster import BLOWS, LONG, Cluster, Watch, counts_of
from tests.cluster.places import Places
from tests.cluster.project import Place, results_in, write_project

#: Bus and artifacts; the store is PostgreSQL.
COMBINATIONS = (("rabbitmq", "folder"), ("kafka", "s3"), ("rabbitmq", "s3"), ("kafka", "folder"))
#: Seconds that a record takes while blows fall.
_PACE = 0.002


class Outcome(Struct, frozen=True, kw_only=True):
    """What a storm came to."""

    records: int
    results: int
    #: Blows in their order, and the seconds from each to the first new result.
    waits: Sequence[tuple[str, float]]
    #: Reads of the counts on the way, and those that were wrong.
    reads: int
    wrong: Sequence[str]
    seconds: float


def undisturbed(folder: Path, records: int) -> Mapping[Place, tuple[int, bytes]]:
    """What is inferred where nothing goes wrong: one process, on SQLite."""
    project = write_project(folder, "")
    (project / "numbers.jsonl").write_text("".join(json.dumps({"id": f"n{n}", "n": n}) + "\n" for n in range(records)))
    command = [sys.executable, "-m", "limner.cli.main", "run", "numbers", "numbers.jsonl"]
    subprocess.run(command, cwd=project, capture_output=True, timeout=LONG.total_seconds(), check=True)
    return results_in(f"sqlite:///{project}/.limner/limner.db")


def storm(
    folder: Path,
    *,
    bus: str,
    artifacts: str,
    records: int,
    seed: int,
    calm: Mapping[Place, tuple[int, bytes]],
    pause: float,
    blows: Sequence[str] = BLOWS,
    pace: float = _PACE,
) -> Outcome:
    """
    Strike a job of so many records with *blows*, in an order that *seed* says; *pause* is how long things stay away.

    Raises:
        AssertionError: a record was lost or doubled, a result differs from *calm*, or a count was wrong.
    """
    dice = random.Random(seed)
    order = [blow for blow in blows if blow != "stop_artifacts" or artifacts == "s3"]
    dice.shuffle(order)
    began = time.monotonic()
    waits: list[float] = []
    with Places(folder / "places", bus=bus, artifacts=artifacts) as places, Cluster(folder, places, pace=pace) as made:
        job = made.submit(records)
        watch = Watch(places.store, job, records=records)
        watch.start()
        with made.until_the_next_result(job, []):
            pass
        for blow in order:
            with made.until_the_next_result(job, waits):
                getattr(made, blow)(dice, pause)
        made.calm()
        state = made.ended(job)
        watch.stop()
        counts, found = counts_of(places.store, job), results_in(places.store)
    assert state == "done", (state, counts)
    assert (counts.records, counts.done, counts.open) == (records, records, 0), counts
    assert found == calm, (
        f"{len(found)} results, {len(calm)} undisturbed, {len(set(found.items()) ^ set(calm.items()))}"
    )
    assert not watch.wrong, watch.wrong
    return Outcome(
        records=records,
        results=len(found),
        waits=list(zip(order, waits, strict=True)),
        reads=watch.reads,
        wrong=watch.wrong,
        seconds=time.monotonic() - began,
    )
