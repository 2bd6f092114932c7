"""Ctrl-C in the middle of a run: nothing is lost, and the message holds the command that goes on."""

import os
import pty
import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.cases import ended, limner, process, write_project
from tests.waiting import until


def test_stopped_run_goes_on_with_the_same_command(tmp_path: Path) -> None:
    """Ctrl-C ends a run with status 130 and the exact command, which then finishes without redoing what was done."""
    # given
    project = write_project(tmp_path, words=[f"word{n}" for n in range(12)])
    running = process("run", "words", "words.jsonl", "--json", folder=project)
    calls = project / "calls"
    until(lambda: calls.exists() and len(calls.read_text().split()) >= 4)
    (project / "hold").touch()

    # when
    running.send_signal(signal.SIGINT)
    (project / "hold").unlink()
    stopped = ended(running)

    # then
    assert (stopped.status, stopped.out) == (130, "")
    assert "limner run words words.jsonl --json" in stopped.err
    assert "Traceback" not in stopped.err

    # when
    again = ended(process("run", "words", "words.jsonl", "--json", folder=project))

    # then
    assert (again.status, again.document()["done"]) == (0, 12)


def test_job_of_another_process_is_cancelled(project: Path) -> None:
    """A job that another process works on is stopped from here; that process ends with status 1 and the counts."""
    # given
    (project / "hold").touch()
    running = process("run", "words", "words.jsonl", "--json", folder=project)
    until((project / "calls").exists)
    job = limner("jobs", "--json", project=project).document()["jobs"][0]["id"]

    # when
    typed = limner("cancel", job, "--json", project=project)
    (project / "hold").unlink()
    other = ended(running)

    # then
    assert (typed.status, typed.document()["cancelled"]) == (0, 3)
    assert (other.status, other.document()["job"], other.document()["cancelled"]) == (1, job, 3)


@pytest.mark.slow
def test_bar_shows_rate_and_time_left(tmp_path: Path) -> None:
    """On a terminal a run of more than two seconds shows how far it is, its rate and the time left."""
    # given
    project = write_project(tmp_path, words=[f"word{n}" for n in range(60)])
    code = (project / "inferrers.py").read_text(encoding="utf-8")
    (project / "inferrers.py").write_text(
        code.replace("while (", "time.sleep(0.15)\n        while ("), encoding="utf-8"
    )
    ours, theirs = pty.openpty()
    shown: list[bytes] = []
    reader = threading.Thread(target=_read, args=(ours, shown))

    # when
    import subprocess

    running = subprocess.Popen(
        [sys.executable, "-m", "limner.cli.main", "run", "words", "words.jsonl", "--json"],
        cwd=project,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    reader.start()
    out, _ = running.communicate(timeout=60)
    reader.join()
    os.close(ours)

    # then
    seen = b"".join(shown).decode()
    assert b'"done": 60' in out
    assert "/60" in seen
    assert "/s, " in seen
    assert " left" in seen


def test_log_and_user_prints_stay_off_standard_output(project: Path) -> None:
    """What an inferrer prints does not mix with the JSON document of a run."""
    # given
    code = (project / "inferrers.py").read_text(encoding="utf-8")
    (project / "inferrers.py").write_text(f'print("loud import")\n{code}', encoding="utf-8")

    # when
    typed = ended(process("run", "words", "words.jsonl", "--json", folder=project))

    # then
    assert typed.document()["done"] == 3
    assert limner("status", project=project).status == 0


def _read(terminal: int, shown: list[bytes]) -> None:
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            # Linux says so when the other side of a terminal is closed.
            return
        if not piece:
            return
        shown.append(piece)
