"""Ctrl-C at the worst moments: a transaction that was just begun, or a source that never answers."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.cases import write_project

#: Sends the signal in the moment in which the Nth transaction that writes has begun, and the block has not: an
#: exception there leaves it open for as long as the exception is on its way.
AT_A_TRANSACTION = """
import signal, sys
from limner.app.app import App
from limner.app.running import Interrupted
from limner.settings import load_project

number, seen = int(sys.argv[1]), 0

def watch(frame, event, called):
    global seen
    if event == "c_return" and called is next and frame.f_code.co_name == "__enter__":
        if frame.f_locals["self"].gen.gi_code.co_qualname == "Store.transaction":
            seen += 1
            if seen == number:
                signal.raise_signal(signal.SIGINT)

with App(load_project()) as app:
    sys.setprofile(watch)
    try:
        print(app.run("words", "words.jsonl").done)
    except (Interrupted, KeyboardInterrupt) as error:
        print(type(error).__name__)
    sys.setprofile(None)
"""
#: A source that answers once and never again.
IN_A_SOURCE = """
import os, signal, threading, time
from limner.app.interrupts import Interrupts

def pages():
    yield 1
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    time.sleep(60)

try:
    with Interrupts() as interrupts:
        print([page for page in interrupts.between(pages())])
except KeyboardInterrupt:
    print("stopped")
"""


def _said(script: str, *words: str, folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=folder, capture_output=True, text=True, timeout=40, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("number", [3, 10, 14])
def test_a_run_ends_though_it_was_stopped_as_a_transaction_began(number: int, tmp_path: Path) -> None:
    """The interrupted run lets go of the store's lock, and the next one finishes what is left."""
    # given
    project = write_project(tmp_path, words=[f"word{n}" for n in range(12)])

    # when
    stopped = _said(AT_A_TRANSACTION, str(number), folder=project)
    again = _said(AT_A_TRANSACTION, "0", folder=project)

    # then
    assert (stopped, again) == ("Interrupted", "12")


def test_a_source_that_does_not_answer_is_left_at_once(tmp_path: Path) -> None:
    """Whoever waits for a page of a source need not wait for the page to be heard."""
    assert _said(IN_A_SOURCE, folder=tmp_path) == "stopped"
