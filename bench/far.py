"""Work G: far workers whose model sleeps a second for a record; one of them is killed; time beside the ideal."""

import argparse

from measuring import project, stopwatch, tell, write_lines
from processes import call, serving, start_worker, submit, until

PIPELINE = """
from limner import Pipeline, Stage

pipeline = Pipeline("far", collection="things", stages=[
    Stage("double", infer="work:double", reads={"n": "n"}, batch=1, task_size=1),
])
"""
INFERRERS = (
    'import time\n\nversion = "1"\n\n\ndef double(n: int) -> dict:\n    time.sleep(SECONDS)\n    return {"x": 2 * n}\n'
)


def far(records: int, *, workers: int, seconds: float) -> dict[str, float]:
    """Half-way one worker is killed with -9: the ideal from there on is that of the others."""
    files = {
        "pipeline.py": PIPELINE,
        "work.py": INFERRERS.replace("SECONDS", str(seconds)),
        "limner.toml": "lease = 3.0\n",
    }
    with project(files) as folder:
        lines = write_lines(folder / "in.jsonl", records)
        with serving(folder, "--workers", "0") as server:
            started = [start_worker(folder, server.url, "--name", f"w{number}") for number in range(workers)]
            try:
                until(lambda: _live(server.url) == workers)
                before = server.cpu()
                with stopwatch() as watch:
                    job = submit(server.url, "far", lines)
                    until(lambda: _done(server.url, job) >= records // 2)
                    started[0].kill()
                    until(lambda: _done(server.url, job) == records)
                cpu = server.cpu() - before
            finally:
                for worker in started[1:]:
                    worker.popen.terminate()
                for worker in started[1:]:
                    worker.stop()
    half = records // 2 * seconds
    ideal = half / workers + (records * seconds - half) / (workers - 1)
    return {
        "share_of_ideal": ideal / watch.seconds,
        "seconds": watch.seconds,
        "ideal_s": ideal,
        "results": records,
        "server_cpu_share": cpu / watch.seconds,
    }


def _live(url: str) -> int:
    return sum(worker["state"] == "live" for worker in call(f"{url}/api/v1/workers")["workers"])


def _done(url: str, job: str) -> int:
    return int(call(f"{url}/api/v1/jobs/{job}")["counts"]["done"])


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=["limner"], default="limner")
    parser.add_argument("--records", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="What the model takes for one record.")
    asked = parser.parse_args()
    figures = far(asked.records, workers=asked.workers, seconds=asked.seconds)
    tell(work="G", who="limner", size=asked.records, workers=asked.workers, **figures)


if __name__ == "__main__":
    main()
