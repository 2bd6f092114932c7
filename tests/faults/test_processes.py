"""A process that died is never taken for the one that was given its number."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from limner.app.lock import lives, name_of
from tests.faults.project import numbers, tiny
from tests.waiting import until


def test_the_own_process_lives() -> None:
    """A process that is there is found by its name."""
    assert lives(name_of(os.getpid()))


def test_a_process_that_ended_does_not_live() -> None:
    """Neither one that was collected by its parent, nor one that still waits to be."""
    # given
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = name_of(process.pid)
        assert lives(name)

        # when
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        # then
        assert not lives(name)
    assert not lives(name)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_another_process_of_the_same_number_does_not_live() -> None:
    """The number alone is not enough: in a container every run may be number 1."""
    number, start, boot = name_of(os.getpid()).split()
    assert not lives(f"{number} {int(start) - 1} {boot}")
    assert not lives(f"{number} {start} another-boot")


@pytest.mark.slow
def test_a_job_whose_process_died_while_it_read_is_ended_by_the_next_run(tmp_path: Path) -> None:
    """What it had taken in is finished, and the job does not stay open for ever."""
    # given
    project = tiny(tmp_path / "project", batch=500, task_size=1000, stages=1)
    source = project.fill("in.jsonl", numbers(3_000))
    # A source that comes to no end.
    endless = ["sh", "-c", f"cat {source}; exec sleep 60"]
    feeder = subprocess.Popen(endless, cwd=project.folder, stdout=subprocess.PIPE)

    # when
    run = project.start("run", "tiny", "-", stdin=feeder.stdout)
    until(lambda: project.count("records") >= 2_000, during=run)
    killed = project.kill(run)
    feeder.kill()
    feeder.communicate()
    status = project.limner("run", "tiny", source)

    # then
    assert (killed, status) == (True, 0)
    assert [state for _, state, _ in project.jobs()] == ["done", "done"]
    assert [counts["open"] for _, _, counts in project.jobs()] == [0, 0]
    assert project.query("SELECT count(*) FROM job_events WHERE kind = 'interrupted'") == [(1,)]
