"""Runs that are asked to stop, that share a store, or that lose a part of themselves."""

import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.project import DEADLINE, Project, numbers, tiny
from tests.waiting import until

RECORDS = 400


def at_work(folder: Path, *, records: int = RECORDS, pace: float = 0.03) -> tuple[Project, "subprocess.Popen[str]"]:
    """A project and a run of it in the middle of its first stage."""
    project = tiny(folder, task_size=40)
    source = project.fill("in.jsonl", numbers(records))
    project.pace(pace)
    run = project.start("run", "tiny", source)
    until(lambda: project.logged() > 1_000, during=run)
    assert run.poll() is None, project.printed()
    return project, run


def once_each(records: int) -> Counter[tuple[str, str]]:
    """Every record inferred once by every stage."""
    return Counter((stage, f"r{n}") for stage in ("double", "square", "label") for n in range(records))


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_can_go_on(tmp_path: Path, sign: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end a run with what it has in hand answered; the same command finishes it, nothing twice."""
    # given
    project, run = at_work(tmp_path / "project")

    # when
    run.send_signal(sign)
    ended = run.wait(DEADLINE)

    # then
    assert ended == 130
    assert project.children() == []
    assert project.leftovers() == []
    assert 0 < len(project.results()) < 3 * RECORDS
    assert "Traceback" not in project.printed()

    # when
    project.pace(0)
    assert project.limner("run", "tiny", "in.jsonl") == 0

    # then
    assert project.calls() == once_each(RECORDS)
    assert len(project.results()) == 3 * RECORDS


@pytest.mark.slow
@pytest.mark.parametrize("holder_is_killed", [False, True])
def test_two_runs_share_one_engine(tmp_path: Path, holder_is_killed: bool) -> None:
    """A second run leaves its work to the holder of the engine lock, and takes over when that one is killed."""
    # given a run that is still at work when the other one has taken its records in
    project, first = at_work(tmp_path / "project")
    more = project.fill("more.jsonl", ({"id": f"r{n}", "n": n} for n in range(RECORDS // 2, RECORDS * 3 // 2)))

    # when
    second = project.start("run", "tiny", more)
    until(lambda: project.count("records") == RECORDS * 3 // 2, during=second)
    in_flight: set[tuple[str, str]] = set()
    if holder_is_killed:
        assert project.kill(first)
        until(lambda: not project.children() or second.poll() is not None)
        in_flight = {(stage, f"r{n}") for stage in ("double", "square", "label") for n in range(RECORDS * 3 // 2)}
    project.pace(0)
    ends = [second.wait(DEADLINE), first.wait(DEADLINE)]

    # then
    assert ends == [0, -signal.SIGKILL if holder_is_killed else 0], project.printed()
    (_, one, counts), (_, two, others) = project.jobs()
    assert (one, two) == ("done", "done")
    assert (counts["done"], counts["open"], others["done"], others["open"]) == (RECORDS, 0, RECORDS, 0)
    calls = project.calls()
    assert set(calls) == set(once_each(RECORDS * 3 // 2))
    assert all(times == 1 or call in in_flight for call, times in calls.items())
    assert project.children() == []


@pytest.mark.slow
def test_a_child_killed_from_outside_costs_no_record(tmp_path: Path) -> None:
    """Whoever kills an inferrer's process mid-batch delays its records and fails none."""
    # given
    project, run = at_work(tmp_path / "project")

    # when
    child = random.Random(3).choice(project.children())
    os.kill(child, signal.SIGKILL)
    until(lambda: child not in project.children())
    project.pace(0)

    # then
    assert run.wait(DEADLINE) == 0
    assert project.jobs()[0][2]["done"] == RECORDS
    assert set(project.calls()) == set(once_each(RECORDS))
    assert project.leftovers() == []


@pytest.mark.slow
def test_kills_during_the_intake_lose_and_double_nothing(tmp_path: Path) -> None:
    """A big source is read again after each kill: every row is one record, one result, or set aside, once."""
    # given
    rows = 30_000
    project = tiny(tmp_path / "project", batch=500, task_size=2000, stages=1)
    source = project.fill("in.jsonl", numbers(rows))
    with (project.folder / source).open("a") as file:
        file.write('{"n": 1}\nnot json\n')
    moments = random.Random(5)
    lost: Counter[tuple[str, str]] = Counter()

    # when
    for _ in range(3):
        before = project.count("records")
        run = project.start("run", "tiny", source)
        wanted = before + moments.randrange(1, 3_000)
        until(lambda wanted=wanted: project.count("records") >= wanted, during=run)  # type: ignore[misc]  # bound here
        assert project.kill(run), project.printed()
        until(lambda: not project.children())
        lost.update(project.in_flight())
    interrupted = project.count("records")
    assert project.limner("run", "tiny", source) == 0, project.printed()

    # then
    assert 0 < interrupted < rows
    assert project.count("records") == rows
    assert len(project.results()) == rows
    calls = project.calls()
    assert len(calls) == rows
    assert all(times <= 1 + lost[call] for call, times in calls.items())
    last, state, counts = project.jobs()[-1]
    assert (state, counts["done"], counts["open"]) == ("done", rows, 0)
    assert project.query("SELECT set_aside FROM jobs WHERE id = ?", last) == [(2,)]
    assert all(state == "done" for _, state, _ in project.jobs())


@pytest.mark.slow
def test_a_full_disk_is_told_in_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    """Where the store cannot grow the run says so and ends; with room again it finishes, nothing lost."""
    # given
    project = tiny(tmp_path / "project", batch=500, task_size=2000)
    source = project.fill("in.jsonl", numbers(6_000))

    # when
    status = project.limner("run", "tiny", source, file_blocks=1_000)

    # then
    assert status not in (0, 1)
    assert "The store refused" in project.printed()
    assert "Traceback" not in project.printed()
    until(lambda: not project.children())
    kept = project.results()

    # when
    status = project.limner("run", "tiny", source)

    # then
    assert status == 0
    assert kept.items() <= project.results().items()
    assert len(project.results()) == 3 * 6_000
    assert project.jobs()[-1][2] == {"open": 0, "done": 6_000, "failed": 0, "skipped": 0, "cancelled": 0}
    assert all(state == "done" for _, state, _ in project.jobs())
    assert project.leftovers() == []
