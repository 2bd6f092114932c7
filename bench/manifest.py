"""A request of a million records from a list behind an address: how fast it is taken in, and what memory that needs."""

import argparse
import http.server
import threading
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

from measuring import project, tell, write_lines
from processes import call, serving

PIPELINE = """
from limner import Implementation, Number, Pipeline, Stage

pipeline = Pipeline("far", collection="things", standing=False, stages=[
    Stage("double", implementations={"outside": Implementation(infer="external")}, reads={"n": "n"},
          outputs={"x": Number()}, task_size=64),
])
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def manifest(records: int) -> dict[str, float]:
    """The job is watched while its list is read: every second its status is asked, and timed."""
    files = {"pipeline.py": PIPELINE, "limner.toml": 'allow_hosts = ["127.0.0.1"]\n'}
    with project(files) as folder:
        (folder / "lists").mkdir()
        write_lines(folder / "lists" / "in.jsonl", records)
        lists = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder / "lists"))
        threading.Thread(target=lists.serve_forever, daemon=True).start()
        with serving(folder, "--workers", "0") as server:
            began = time.perf_counter()
            url = f"http://127.0.0.1:{lists.server_port}/in.jsonl"
            job = call(f"{server.url}/api/v1/jobs", {"pipeline": "far", "manifest": {"url": url}})["id"]
            accepted = time.perf_counter() - began
            seen: list[int] = []
            took: list[float] = []
            while not seen or seen[-1] < records:
                time.sleep(min(1.0, records / 20_000))
                asked = time.perf_counter()
                seen.append(call(f"{server.url}/api/v1/jobs/{job}")["counts"]["records"])
                took.append(1e3 * (time.perf_counter() - asked))
            seconds = time.perf_counter() - began
            peak = server.peak_mb()
        lists.shutdown()
        lists.server_close()
        size = Path(folder / ".limner/limner.db").stat().st_size
    return {
        "rate": records / seconds,
        "seconds": seconds,
        "accepted_s": accepted,
        "results": seen[-1],
        "progress_seen": len(set(seen)),
        "fell": sum(one > two for one, two in pairwise(seen)),
        "slowest_status_ms": max(took),
        "server_mb": peak,
        "store_mb": size // 1_000_000,
    }


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=["limner"], default="limner")
    parser.add_argument("--records", type=int, default=100_000)
    asked = parser.parse_args()
    tell(work="server, manifest", who="limner", size=asked.records, **manifest(asked.records))


if __name__ == "__main__":
    main()
