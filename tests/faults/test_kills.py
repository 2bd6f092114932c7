"""A run that is killed again and again ends with what an undisturbed one ends with."""

import contextlib
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.project import DEADLINE, numbers, tiny
from tests.waiting import until

RECORDS = 5_000
KILLS = 20
STAGES = 3
TASK = 100


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    """
    Killed at twenty random moments and started again each time, a run ends with the results of an undisturbed one.

    No record is inferred again but those in flight at a kill, every read adds up, and nothing is left lying about.
    """
    # given
    moments = random.Random(20)
    calm = tiny(tmp_path / "calm", stages=STAGES, task_size=TASK)
    source = calm.fill("in.jsonl", numbers(RECORDS))
    assert calm.limner("run", "tiny", source) == 0
    stormy = tiny(tmp_path / "stormy", stages=STAGES, task_size=TASK)
    stormy.fill("in.jsonl", numbers(RECORDS))
    stormy.pace(0.001)
    reader = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("reader.py")), str(stormy.folder / ".limner/limner.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    # when
    lost: Counter[tuple[str, str]] = Counter()
    killed = 0
    for number in range(KILLS):
        run = stormy.start("run", "tiny", source)
        if number % 4 == 0:
            # Anywhere in the start of the process and the intake.
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(moments.uniform(0.05, 1.5))
        else:
            # Anywhere in the work: so many bytes of the log later.
            target = stormy.logged() + moments.randrange(1, 6_000)
            until(lambda target=target: stormy.logged() >= target, during=run)  # type: ignore[misc]  # bound by default
        killed += stormy.kill(run)
        until(lambda: not stormy.children())
        lost.update(stormy.in_flight())
    stormy.pace(0)
    assert stormy.limner("run", "tiny", source) == 0
    told = json.loads(reader.communicate("", DEADLINE)[0])

    # then
    assert killed == KILLS, "it must not end before it was killed as often as it was to be"
    assert stormy.results() == calm.results()
    assert len(stormy.results()) == STAGES * RECORDS
    calls = stormy.calls()
    assert set(calls) == set(calm.calls())
    assert all(times <= 1 + lost[call] for call, times in calls.items())
    assert sum(calls.values()) - len(calls) <= KILLS * STAGES * TASK, "more than the task in hand was done again"
    assert told["wrong"] == []
    assert told["reads"] > 100
    assert all(state == "done" and counts["open"] == 0 for _, state, counts in stormy.jobs())
    assert stormy.jobs()[-1][2] == {"open": 0, "done": RECORDS, "failed": 0, "skipped": 0, "cancelled": 0}
    assert stormy.query("PRAGMA integrity_check") == [("ok",)]
    assert stormy.children() == []
    assert stormy.leftovers() == []
