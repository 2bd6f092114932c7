"""Work E: a worker, then the server, is killed with -9: what was lost, doubled or redone, and how soon it goes on."""

import argparse
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from measuring import project, stopwatch, tell, write_lines
from processes import Process, call, free_port, start_server, start_worker, submit, until
from servers import BUSES, servers

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
        #: When there was a new result, and how many there were then.
        self.steps: list[tuple[float, int]] = []
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
            if counts["done"] > self.done:
                self.steps.append((time.monotonic(), counts["done"]))
            self.done = counts["done"]

    def pause(self, begin: float, end: float) -> float:
        """The longest time without a new result between two moments."""
        moments = [begin, *(at for at, _ in self.steps if begin < at < end), end]
        return max(two - one for one, two in pairwise(moments))

    def stop(self) -> None:
        """Look no more."""
        self.over.set()
        self._thread.join()


def killed(records: int, *, store: str, bus: str) -> dict[str, float]:
    """One worker is killed at a quarter of the work, the server at a half."""
    settings = f'{SETTINGS}store = "{store}"\n' + (f'bus = "{bus}"\n' if bus else "")
    files = {"pipeline.py": PIPELINE, "work.py": INFERRERS, "limner.toml": settings}
    with project(files) as folder:
        port = free_port()
        lines = write_lines(folder / "in.jsonl", records)
        server = start_server(folder, "--workers", "0", port=port)
        at = bus or server.url
        workers = [start_worker(folder, at, "--name", f"w{number}") for number in range(2)]
        try:
            until(lambda: len(call(f"{server.url}/api/v1/workers")["workers"]) == 2)
            job = submit(server.url, "far", lines)
            watch = Watch(server.url, job, records=records)
            with stopwatch() as whole:
                until(lambda: watch.done >= records // 4, pause=0.01)
                workers[0].kill()
                one = time.monotonic()
                workers.append(start_worker(folder, at, "--name", "w2"))
                until(lambda: watch.done >= records // 2, pause=0.01)
                server.kill()
                two = time.monotonic()
                server = start_server(folder, "--workers", "0", port=port)
                up = time.monotonic()
                # What the store holds by now is not new, though nobody may have read it before the kill.
                before = int(call(f"{server.url}/api/v1/jobs/{job}")["counts"]["done"])
                until(lambda: watch.done > before, pause=0.005)
                first = time.monotonic()
                until(lambda: watch.done >= records, pause=0.02)
                end = time.monotonic()
            watch.stop()
        finally:
            for process in (*workers, server):
                _end(process)
        figures = _left(folder, store, records)
    return {
        **figures,
        "seconds": whole.seconds,
        "worker_pause_s": watch.pause(one, two),
        "restart_s": up - two,
        "first_result_s": first - up,
        "last_pause_s": watch.pause(first, end),
        "count_reads": watch.reads,
        "wrong_counts": watch.wrong,
    }


def _end(process: Process) -> None:
    if process.popen.poll() is None:
        process.stop()


def _left(folder: Path, store: str, records: int) -> dict[str, float]:
    """What stands in the store, and what was inferred."""
    from limner.settings import load_project
    from limner.store.connect import connect_store

    with closing(connect_store(load_project(folder).url(store))) as opened, opened.reading() as tx:
        asked = "SELECT count(DISTINCT record) FROM results WHERE status = 1", "SELECT count(*) FROM results"
        stored, rows = (int(tx.connection.exec_driver_sql(one).scalar_one()) for one in asked)
    inferred = Counter((folder / "calls.log").read_text().split())
    return {
        "lost": records - stored,
        "doubled": rows - stored,
        "redone": sum(inferred.values()) - records,
        "results": stored,
    }


@contextmanager
def placed(bus: str, store: str) -> Iterator[tuple[str, str]]:
    """The addresses of the store and of the bus; no address of a bus where the server hands tasks out over HTTP."""
    if bus == "http" and store == "sqlite":
        yield "sqlite:///.limner/limner.db", ""
        return
    with servers("" if bus == "http" else bus) as at:
        yield at.store, at.bus


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=["limner"], default="limner")
    parser.add_argument("--bus", choices=["http", *BUSES], default="http", help="A broker needs PostgreSQL.")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--records", type=int, default=1_000)
    asked = parser.parse_args()
    store = asked.store if asked.bus == "http" else "postgresql"
    with placed(asked.bus, store) as (store_url, bus):
        figures = killed(asked.records, store=store_url, bus=bus)
    tell(work="E", who="limner", bus=asked.bus, store=store, size=asked.records, workers=2, task=8, **figures)


if __name__ == "__main__":
    main()
