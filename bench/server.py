"""The server under load: records enqueued, tasks taken and answered, status of a large job, many workers that ask."""

import argparse
import http.client
import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from measuring import project, stopwatch, tell, write_lines
from processes import Process, call, serving, submit, until

PIPELINE = """
from limner import Implementation, Number, Pipeline, Stage

pipeline = Pipeline("far", collection="things", standing=False, stages=[
    Stage("double", implementations={"outside": Implementation(infer="external")}, reads={"n": "n"},
          outputs={"x": Number()}, task_size=64),
])
"""
SERVES = [{"stage": "far.double", "implementation": "outside"}]


class Stub:
    """A worker in plain HTTP and JSON, over one connection: what any client in any language would do."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.handed: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        self.say("workers:hello", serves=[{**SERVES[0], "version": {"code": "1"}}])

    def say(self, path: str, **body: object) -> dict[str, Any]:
        """What the server answers."""
        said = json.dumps({"worker_id": self.name, **body}).encode()
        self._connection.request("POST", f"/api/v1/{path}", said, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered by {answer.status}: {told[:300]!r}")
        found: dict[str, Any] = json.loads(told)
        return found

    def turn(self, *, tasks: int, wait: float) -> int:
        """Take tasks, answer them; records that were answered."""
        taken = self.say("tasks:take", serves=SERVES, max_tasks=tasks, wait_s=wait)["tasks"]
        if not taken:
            return 0
        answers = []
        for task in taken:
            self.handed.update(record["id"] for record in task["records"])
            results = [{"key": r["key"], "ok": True, "value": {"x": 2 * r["reads"]["n"]}} for r in task["records"]]
            answers.append({"task_id": task["task_id"], "token": task["lease"]["token"], "results": results})
        for receipt in self.say("tasks:complete", answers=answers)["tasks"]:
            self.states[receipt["state"]] += 1
        return sum(len(answer["results"]) for answer in answers)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _counts(url: str, job: str) -> dict[str, Any]:
    counts: dict[str, Any] = call(f"{url}/api/v1/jobs/{job}")["counts"]
    return counts


def enqueue(server: Process, lines: Path, *, records: int, workers: int) -> dict[str, float]:
    """Records a second from the request until all of them stand in the store as work; nobody takes any."""
    with stopwatch() as watch:
        job = submit(server.url, "far", lines)
        until(lambda: _counts(server.url, job)["open"] == records, pause=0.02)
    return {"rate": records / watch.seconds, "seconds": watch.seconds}


def status(server: Process, lines: Path, *, records: int, workers: int) -> dict[str, float]:
    """Milliseconds until a job's status is told, while it is large and nearly all of it is open."""
    enqueue(server, lines, records=records, workers=workers)
    worker = Stub(server.url, "one")
    worker.turn(tasks=8, wait=10.0)
    (job,) = call(f"{server.url}/api/v1/jobs?limit=1")["items"]
    took = []
    for _ in range(30):
        with stopwatch() as watch:
            call(f"{server.url}/api/v1/jobs/{job['id']}")
        took.append(1e3 * watch.seconds)
    return {"p50_ms": statistics.median(took), "max_ms": max(took), "least_ms": min(took)}


def take(server: Process, lines: Path, *, records: int, workers: int) -> dict[str, float]:
    """Records a second that few workers take and answer, from the first to the end of the job."""
    enqueue(server, lines, records=records, workers=workers)
    stubs = [Stub(server.url, f"w{number}") for number in range(workers)]
    return _worked(server, stubs, records=records, tasks=4)


def poll(server: Process, lines: Path, *, records: int, workers: int) -> dict[str, float]:
    """The same with many workers, who ask and wait before there is anything; and what their waiting costs."""
    stubs = [Stub(server.url, f"w{number}") for number in range(workers)]
    waiting = [threading.Thread(target=stub.turn, kwargs={"tasks": 1, "wait": 6.0}) for stub in stubs]
    for thread in waiting:
        thread.start()
    time.sleep(1.0)
    before = server.cpu()
    time.sleep(4.0)
    idle = (server.cpu() - before) / 4.0
    for thread in waiting:
        thread.join()
    submit(server.url, "far", lines)
    return {**_worked(server, stubs, records=records, tasks=1), "idle_cpu": idle}


def _worked(server: Process, stubs: list[Stub], *, records: int, tasks: int) -> dict[str, float]:
    """Let workers do all there is."""
    done = 0
    lock = threading.Lock()

    def work(stub: Stub) -> None:
        nonlocal done
        while done < records:
            answered = stub.turn(tasks=tasks, wait=1.0)
            with lock:
                done += answered

    threads = [threading.Thread(target=work, args=(stub,)) for stub in stubs]
    before = server.cpu()
    with stopwatch() as watch:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    handed = sum((stub.handed for stub in stubs), Counter[str]())
    states = sum((stub.states for stub in stubs), Counter[str]())
    (job,) = call(f"{server.url}/api/v1/jobs?limit=1")["items"]
    for stub in stubs:
        stub.close()
    return {
        "rate": records / watch.seconds,
        "seconds": watch.seconds,
        "results": job["counts"]["done"],
        "handed_twice": sum(count - 1 for count in handed.values()),
        "not_committed": sum(count for state, count in states.items() if state != "committed"),
        "server_cpu_s": server.cpu() - before,
    }


def main() -> None:
    """Measure one of them."""
    ways: dict[str, Callable[..., dict[str, float]]] = {
        "enqueue": enqueue,
        "take": take,
        "status": status,
        "poll": poll,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=ways, default="take")
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=4)
    asked = parser.parse_args()
    with project({"pipeline.py": PIPELINE}) as folder:
        lines = write_lines(folder / "in.jsonl", asked.records)
        with serving(folder, "--workers", "0") as server:
            figures = ways[asked.what](server, lines, records=asked.records, workers=asked.workers)
            peak = server.peak_mb()
    tell(
        work=f"server, {asked.what}", who="limner", size=asked.records, workers=asked.workers, **figures, server_mb=peak
    )


if __name__ == "__main__":
    main()
