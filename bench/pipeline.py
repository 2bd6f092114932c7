"""Work A: records through two tiny stages, every result stored, fsync on; rate = (N-1) / (wall of N - wall of 1)."""

import argparse
import sqlite3
import time
from collections.abc import Callable

from measuring import project, stopwatch, tell, write_lines

PIPELINE = """
from limner import Pipeline, Stage

pipeline = Pipeline("tiny", collection="things", stages=[
    Stage("double", infer="work:double", reads={"n": "n"}, batch=512),
    Stage("square", infer="work:square", reads={"n": "double.x"}, batch=512),
])
"""
INFERRERS = """
version = "1"


def double(n: list[int]) -> list[dict]:
    return [{"x": 2 * one} for one in n]


def square(n: list[int]) -> list[dict]:
    return [{"x": one * one} for one in n]
"""
#: Records in one commit of the physical limit.
BATCH = 512


def limner(count: int) -> tuple[float, int]:
    """Limner: seconds, and results that stand in the store."""
    import limner

    with project({"pipeline.py": PIPELINE, "work.py": INFERRERS}) as folder:
        source = write_lines(folder / "in.jsonl", count)
        with limner.open(folder) as app, stopwatch() as watch:
            summary = app.run("tiny", source)
        assert (summary.records, summary.done) == (count, count)
        with sqlite3.connect(folder / ".limner/limner.db") as connection:
            (stored,) = connection.execute("SELECT count(*) FROM results WHERE status = 1").fetchone()
    return watch.seconds, stored


def limit(count: int) -> tuple[float, int]:
    """SQLite alone: one commit for a batch's results, progress and hand-off."""
    with project({}) as folder:
        connection = sqlite3.connect(folder / "limit.db", isolation_level=None)
        connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE results (record INTEGER, stage INTEGER, value BLOB, PRIMARY KEY (record, stage))"
            " WITHOUT ROWID;"
            "CREATE TABLE queue (record INTEGER PRIMARY KEY); CREATE TABLE progress (done INTEGER);"
            "INSERT INTO progress VALUES (0)"
        )
        with stopwatch() as watch:
            for start in range(0, count, BATCH):
                keys = range(start, min(start + BATCH, count))
                _commit(connection, [(key, 1, b"%d" % (2 * key)) for key in keys], queue="INSERT INTO queue VALUES (?)")
            for start in range(0, count, BATCH):
                keys = range(start, min(start + BATCH, count))
                values = [(key, 2, b"%d" % (4 * key * key)) for key in keys]
                _commit(connection, values, queue="DELETE FROM queue WHERE record = ?")
        (stored,) = connection.execute("SELECT count(*) FROM results").fetchone()
        connection.close()
    return watch.seconds, stored


def _commit(connection: sqlite3.Connection, rows: list[tuple[int, int, bytes]], *, queue: str) -> None:
    """Results, progress and hand-off in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO results VALUES (?, ?, ?)", rows)
    connection.executemany(queue, [(row[0],) for row in rows])
    connection.execute("UPDATE progress SET done = done + ?", (len(rows),))
    connection.execute("COMMIT")


def huey(count: int) -> tuple[float, int]:
    """Huey on its SQLite storage with fsync, two worker processes, one pipeline of two tasks a record."""
    from peers import huey_tasks

    with project({}) as folder, huey_tasks.consumer(folder) as app, stopwatch() as watch:
        for number in range(count):
            app.enqueue(huey_tasks.double.s(number).then(huey_tasks.square))
        while app.storage.result_store_size() < 2 * count:
            # Seldom: the question counts all rows, and asked every 2 ms it slowed the workers down to a quarter.
            time.sleep(0.1)
        stored = app.storage.result_store_size()
    return watch.seconds, stored


def main() -> None:
    """Measure one of them."""
    ways: dict[str, Callable[[int], tuple[float, int]]] = {"limner": limner, "limit": limit, "huey": huey}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=ways, default="limner")
    parser.add_argument("--records", type=int, default=20_000)
    asked = parser.parse_args()
    work = ways[asked.who]
    # The first is for what is loaded once.
    (_, _), (one, _), (all_of_them, stored) = work(1), work(1), work(asked.records)
    tell(
        work="A",
        who=asked.who,
        size=asked.records,
        seconds=all_of_them,
        seconds_for_one=one,
        rate=(asked.records - 1) / max(1e-9, all_of_them - one),
        results=stored,
    )


if __name__ == "__main__":
    main()
