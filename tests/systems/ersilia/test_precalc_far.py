"""Machines elsewhere do the work of a precalculation, each for as long as it may."""

import contextlib
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest

from limner.systems.ersilia.made_molecules import made_molecules
from limner.testing.local_server import LocalServer
from tests.systems.ersilia.calculating import Bench
from tests.waiting import until

pytestmark = pytest.mark.slow

PIPELINE = """
from pathlib import Path

from limner.systems.ersilia.pipeline import molecules_pipeline

pipeline = molecules_pipeline(Path(__file__).parent / "packages")
"""


class Worker:
    """A far worker that is started again when its time is over."""

    def __init__(self, bench: Bench, url: str, folder: Path) -> None:
        folder.mkdir()
        self._words = bench.words("worker", "--url", url, "--walltime", "3s", "--stage", "predict")
        self._folder = folder
        self._began = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        #: How each ended, and how many seconds it lived.
        self.ended: list[tuple[int, float]] = []

    def tend(self) -> None:
        """Start it, and once more when it has ended."""
        if self._process is not None and self._process.poll() is not None:
            self.ended.append((self._process.returncode, time.monotonic() - self._began))
            self._process = None
        if self._process is None:
            self._began = time.monotonic()
            with (self._folder / "said.txt").open("ab") as said:
                self._process = subprocess.Popen(self._words, cwd=self._folder, stdout=said, stderr=said)

    def stop(self) -> None:
        """Have it give back what it has in hand, and end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


@pytest.mark.timed
@pytest.mark.timeout(400)
def test_e27_far_workers_that_come_and_go_finish_a_library(bench: Bench, tmp_path: Path) -> None:
    """Three workers that live for three seconds, started again whenever they end, do it all; nothing fails."""
    bench.noting("import time\ntime.sleep(0.2)", seconds=(0.02, 0.02, -1, -1, -1))
    (bench.folder / "pipeline.py").write_text(PIPELINE)
    library = bench.library(made_molecules(81))
    bench.run(library, sample=1)

    typed = ("precalc", "eos0pln", "--library", str(library), "--workers", "6", "--no-canary", "--json")
    with LocalServer(bench.folder, own_workers=False) as server, contextlib.ExitStack() as stack:
        workers = [Worker(bench, server.url, tmp_path / f"worker{n}") for n in range(3)]
        for worker in workers:
            stack.callback(worker.stop)
        with (tmp_path / "said.json").open("wb") as said:
            running = stack.enter_context(subprocess.Popen(bench.words(*typed), cwd=bench.folder, stdout=said))
        stack.callback(running.kill)

        def over() -> bool:
            for worker in workers:
                worker.tend()
            return running.poll() is not None

        until(over, within=timedelta(minutes=4))
        assert running.returncode == 0

    with bench.app() as app:
        newest = app.jobs()[0]
        with app.store.reading() as tx:
            charged = tx.connection.exec_driver_sql("SELECT count(*) FROM attempts").scalar_one()
            handed_out, lost = tx.connection.exec_driver_sql("SELECT max(attempt), max(lost) FROM tasks").one()
    assert (newest.counts.done, newest.counts.failed) == (81, 0)
    assert len(bench.rows(newest.id)) == 81
    ended = [one for worker in workers for one in worker.ended]
    assert len(ended) > 3, "none came again"
    assert {status for status, _ in ended} == {0}
    # To be started, and to be seen to have ended, takes a moment besides.
    assert max(seconds for _, seconds in ended) < 4
    assert handed_out > 1, "no task was given back and handed out again"
    assert (lost, charged) == (0, 0), "what was given back was charged"
