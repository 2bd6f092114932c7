"""One storm: a job at work on a cluster, blows in an order that a seed says, and what is left compared with calm."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from tests.cluster.blows import BLOWS
from tests.cluster.cluster import LONG, Cluster
from tests.cluster.hardware import Impossible, Link, SetClock, SmallDisk
from tests.cluster.places import Places
from tests.cluster.project import Place, results_in, write_project
from tests.cluster.watch import Eye, Watch

#: Bus and artifacts; the store is PostgreSQL.
COMBINATIONS = (("rabbitmq", "folder"), ("kafka", "s3"), ("rabbitmq", "s3"), ("kafka", "folder"))
#: Seconds that a record takes while blows fall.
PACE = 0.06


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
    subprocess.run(command, cwd=project, capture_output=True, timeout=3 * LONG.total_seconds(), check=True)
    return results_in(f"sqlite:///{project}/.limner/limner.db")


def impossible(folder: Path) -> Mapping[str, str]:
    """The blows that cannot be dealt on this machine, and why; *folder* is for trying."""
    found = {}
    tries: Mapping[str, Callable[[], Link | SmallDisk | SetClock]] = {
        "cut_link": lambda: Link(1),
        "fill_artifacts": lambda: SmallDisk(folder / "disk"),
        "set_clocks": lambda: SetClock(folder / "clock"),
    }
    for blow, make in tries.items():
        try:
            made = make()
        except Impossible as error:
            found[blow] = str(error)
        else:
            made.close()
    return found


def storm(
    folder: Path,
    *,
    bus: str,
    artifacts: str,
    records: int,
    seed: int,
    calm: Mapping[Place, tuple[int, bytes]],
    pause: float,
    blows: Iterable[str] = tuple(BLOWS),
    pace: float = PACE,
) -> Outcome:
    """
    Strike a job of so many records with *blows*, in an order that *seed* says; *pause* is how long things stay away.

    Raises:
        AssertionError: a record was lost or doubled, a result or a file differs from *calm*, a count was wrong, or the
            job had ended before the last blow.
    """
    dice = random.Random(seed)
    order = [blow for blow in blows if blow != "stop_artifacts" or artifacts == "s3"]
    dice.shuffle(order)
    began = time.monotonic()
    waits: list[tuple[str, float]] = []
    with (
        Places(folder / "places", bus=bus, artifacts=artifacts, small_disk="fill_artifacts" in order) as places,
        Cluster(
            folder, places, pace=pace, link="cut_link" in order, clocks="set_clocks" in order, lease=max(2.0, pause / 2)
        ) as made,
    ):
        job = made.submit(records)
        watch = Watch(places.store, job, records=records)
        watch.start()
        with made.until_the_next_result():
            pass
        for blow in order:
            assert made.at_work(), f"the job had ended before {blow}"
            _log(f"{bus}+{artifacts}: {blow}")
            with made.until_the_next_result() as noted:
                BLOWS[blow](made, dice, pause)
            waits.append((blow, noted[0]))
            _log(f"{bus}+{artifacts}: {blow}, {noted[0]} s")
        made.calm()
        _log(f"{bus}+{artifacts}: the rest, after {time.monotonic() - began:.0f} s")
        state = made.ended()
        watch.stop()
        eye = Eye(places.store)
        counts, found = eye.counts(job), results_in(places.store)
        eye.close()
        made.check_artifacts(records)
    assert state == "done", (state, counts)
    assert (counts.records, counts.done, counts.open) == (records, records, 0), counts
    assert found == calm, (
        f"{len(found)} results, {len(calm)} undisturbed, {len(set(found.items()) ^ set(calm.items()))}"
    )
    assert not watch.wrong, watch.wrong
    return Outcome(
        records=records,
        results=len(found),
        waits=waits,
        reads=watch.reads,
        wrong=watch.wrong,
        seconds=time.monotonic() - began,
    )


def _log(said: str) -> None:
    """Tell whoever watches how far it is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {said}\n")
    sys.stderr.flush()
