"""Work E: a worker, then the server, is killed with -9: what was lost, doubled or redone, and how soon it goes on."""

import argparse
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from measuring import project, stopwatch, tell, write_lines
from processes import Process, call, free_port, start_server, start_worker, submit, until

PIPELINE = """
from limner import Pipeline, Stage

pipeline = Pipeline("far", collection="things", stages=[
    Stage("double", infer="work:Double", reads={"n": "n"}, batch=8, task_size=8),
])
"""
#: Logs each record that it begins with, so that what was begun twice can be counted, finished or not.
INFERRERS = """
import os
import time

LOG = os.open("calls.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Double:
    version = "1"

    def infer(self, n: list[int]) -> list[dict]:
        os.write(LOG, "".join(f"{one}\\n" for one in n).encode())
        time.sleep(0.01 * len(n))
        return [{"x": 2 * one} for one in n]
"""
SETTINGS = "lease = 3.0\n"


class Watch:
    """Reads the job's counts again and again; every one of them must add up, and what is done never falls."""

    def __init__(self, url: str, job: str, *, records: int) -> None:
        self.reads, self.wrong, self.done = 0, 0, 0
        self.over = threading.Event()
        self._asked = (f"{url}/api/v1/jobs/{job}", records)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        url, records = self._asked
        while not self.over.wait(0.02):
            try:
                counts: dict[str, Any] = call(url)["counts"]
            except OSError:
                # The server is down just now.
                continue
            self.reads += 1
            parts = sum(counts[name] for name in ("open", "done", "failed", "skipped", "cancelled"))
            self.wrong += counts["records"] != records or parts != records or counts["done"] < self.done
            self.done = counts["done"]

    def stop(self) -> None:
        """Look no more."""
        self.over.set()
        self._thread.join()


def killed(records: int) -> dict[str, float]:
    """One worker is killed at a quarter of the work, the server at a half."""
    files = {"pipeline.py": PIPELINE, "work.py": INFERRERS, "limner.toml": SETTINGS}
    with project(files) as folder:
        port = free_port()
        lines = write_lines(folder / "in.jsonl", records)
        server = start_server(folder, "--workers", "0", port=port)
        workers = [start_worker(folder, server.url, "--name", f"w{number}") for number in range(2)]
        try:
            job = submit(server.url, "far", lines)
            watch = Watch(server.url, job, records=records)
            with stopwatch() as whole:
                until(lambda: watch.done >= records // 4, pause=0.01)
                workers[0].kill()
                workers.append(start_worker(folder, server.url, "--name", "w2"))
                until(lambda: watch.done >= records // 2, pause=0.01)
                server.kill()
                killed_at = time.monotonic()
                server = start_server(folder, "--workers", "0", port=port)
                up = time.monotonic()
                # What the store holds by now is not new, though nobody may have read it before the kill.
                before = int(call(f"{server.url}/api/v1/jobs/{job}")["counts"]["done"])
                until(lambda: watch.done > before, pause=0.005)
                first = time.monotonic()
                until(lambda: watch.done >= records, pause=0.02)
            watch.stop()
        finally:
            for process in (*workers, server):
                _end(process)
        figures = _left(folder, records)
    return {
        **figures,
        "seconds": whole.seconds,
        "restart_s": up - killed_at,
        "first_result_s": first - up,
        "count_reads": watch.reads,
        "wrong_counts": watch.wrong,
    }


def _end(process: Process) -> None:
    if process.popen.poll() is None:
        process.stop()


def _left(folder: Path, records: int) -> dict[str, float]:
    """What stands in the store, and what was inferred."""
    with closing(sqlite3.connect(folder / ".limner/limner.db")) as connection:
        (stored,) = connection.execute("SELECT count(DISTINCT record) FROM results WHERE status = 1").fetchone()
        (rows,) = connection.execute("SELECT count(*) FROM results").fetchone()
    inferred = Counter((folder / "calls.log").read_text().split())
    return {
        "lost": records - stored,
        "doubled": rows - stored,
        "redone": sum(inferred.values()) - records,
        "results": stored,
    }


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=["limner"], default="limner")
    parser.add_argument("--records", type=int, default=1_000)
    asked = parser.parse_args()
    tell(work="E", who="limner", size=asked.records, workers=2, task=8, **killed(asked.records))


if __name__ == "__main__":
    main()
