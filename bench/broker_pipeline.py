"""Work A on a broker and PostgreSQL: records through two tiny stages, each result stored with fsync on."""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import project, stopwatch, tell, write_lines
from pipeline import INFERRERS
from processes import call, finished, start_worker, submit, until
from processes import serving as limner_serving
from servers import BUSES, Servers, cpu_under, servers

PIPELINE = """
from limner import Pipeline, Stage

pipeline = Pipeline("tiny", collection="things", standing=False, stages=[
    Stage("double", infer="work:double", reads={"n": "n"}, batch=512, task_size=512),
    Stage("square", infer="work:square", reads={"n": "double.x"}, batch=512, task_size=512),
])
"""
#: Worker processes, of Limner and of its peers: one for each core of a small machine.
WORKERS = 2

#: Takes so many records through both stages, and returns once all results are stored.
Work = Callable[[int], None]


@contextmanager
def limner(at: Servers) -> Iterator[tuple[Path, Work, str]]:
    """``limner serve`` and workers that know the broker alone; records come in one request."""
    settings = f'store = "{at.store}"\nbus = "{at.bus}"\n'
    files = {"pipeline.py": PIPELINE, "work.py": INFERRERS, "limner.toml": settings}
    with project(files) as folder, limner_serving(folder, "--workers", "0") as server:
        workers = [start_worker(folder, at.bus, "--name", f"w{number}") for number in range(WORKERS)]
        rounds = iter(range(1_000_000))

        def work(count: int) -> None:
            lines = write_lines(folder / "in.jsonl", count, prefix=f"{next(rounds)}-")
            # Seldom where it takes long: to ask is work for the server, too.
            pause = 0.2 if count > 1 else 0.01
            ended = finished(server.url, submit(server.url, "tiny", lines), pause=pause)
            assert ended["counts"]["done"] == count, ended

        try:
            until(lambda: len(call(f"{server.url}/api/v1/workers")["workers"]) == WORKERS, within=60, pause=0.2)
            yield folder, work, "SELECT count(*) FROM results WHERE status = 1"
        finally:
            for worker in workers:
                worker.stop()


@contextmanager
def dramatiq(at: Servers) -> Iterator[tuple[Path, Work, str]]:
    """Dramatiq: a pipeline of two messages a record, published with confirms, results in a table."""
    os.environ |= {"BENCH_BROKER": at.bus, "BENCH_STORE": at.store}
    from peers import dramatiq_tasks as tasks

    with project({}) as folder, tasks.workers(folder, processes=WORKERS):
        yield folder, _one_by_one(tasks.send, at, tasks.STORED), tasks.STORED


@contextmanager
def celery(at: Servers) -> Iterator[tuple[Path, Work, str]]:
    """Celery: a chain of two tasks a record, published with confirms, results in its database backend."""
    os.environ |= {"BENCH_BROKER": at.bus, "BENCH_STORE": at.store}
    from peers import celery_tasks as tasks

    with project({}) as folder, tasks.workers(folder, processes=WORKERS):
        yield folder, _one_by_one(tasks.send, at, tasks.STORED), tasks.STORED


def _one_by_one(send: Callable[[int], None], at: Servers, stored: str) -> Work:
    """Send a message for each record, and wait until two more results for each are there."""

    def work(count: int) -> None:
        before = at.rows(stored)
        for number in range(count):
            send(number)
        until(lambda: at.rows(stored) == before + 2 * count, pause=0.2 if count > 1 else 0.01)

    return work


def main() -> None:
    """Measure one of them."""
    ways = {"limner": limner, "dramatiq": dramatiq, "celery": celery}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=ways, default="limner")
    parser.add_argument("--bus", choices=BUSES, default="rabbitmq", help="Kafka is for Limner alone.")
    parser.add_argument("--records", type=int, default=20_000)
    asked = parser.parse_args()
    with servers(asked.bus) as at, ways[asked.who](at) as (folder, work, question):
        # The first is for what is loaded once.
        work(1)
        with stopwatch() as one:
            work(1)
        before, cpu, servers_cpu = at.rows(question), _cpu(folder), at.cpu()
        with stopwatch() as all_of_them:
            work(asked.records)
        cpu, servers_cpu = _cpu(folder) - cpu, at.cpu() - servers_cpu
        stored = at.rows(question) - before
    tell(
        work="A on a broker",
        who=asked.who,
        bus=asked.bus,
        size=asked.records,
        workers=WORKERS,
        seconds=all_of_them.seconds,
        seconds_for_one=one.seconds,
        rate=(asked.records - 1) / max(1e-9, all_of_them.seconds - one.seconds),
        results=stored,
        cpu_s=cpu,
        servers_cpu_s=servers_cpu,
    )


def _cpu(folder: Path) -> float:
    """Seconds of processor of whoever does the work: this process, which sends, and those of *folder*."""
    return time.process_time() + cpu_under(folder)


if __name__ == "__main__":
    main()
