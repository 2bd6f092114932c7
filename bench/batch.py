"""Work B: batch inference over 16 floats a record, Parquet in, every result stored; start-up included."""

import argparse
import itertools
import multiprocessing
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Stopwatch, peak_mb, project, stopwatch, tell

PIPELINE = """
from limner import Number, Pipeline, Stage

pipeline = Pipeline("tiny", collection="things", stages=[
    Stage("score", infer="work:Score", reads={{"x": "x"}}, batch={batch}, task_size={batch},
          params={{"seconds": {seconds}}}, outputs={{"score": Number()}}),
])
"""
INFERRERS = '''
import time

import numpy as np


class Score:
    """A tiny model."""

    version = "1"

    def __init__(self, seconds: float) -> None:
        self.weights, self.seconds = np.linspace(-1, 1, 16), seconds

    def infer(self, x: list[list]) -> list[dict]:
        time.sleep(self.seconds)
        return [{"score": score} for score in (np.array(x) @ self.weights).tolist()]
'''
SLICED = """
from limner import Number, Pipeline, Stage

pipeline = Pipeline("tiny", collection="things", slices={batch}, stages=[
    Stage("score", infer="work:Score", reads={{"x": "x"}}, params={{"seconds": {seconds}}},
          outputs={{"score": Number()}}),
])
"""
OVER_COLUMNS = '''
import time

import numpy as np


class Score:
    """A tiny model."""

    version = "1"

    def __init__(self, seconds: float) -> None:
        self.weights, self.seconds = np.linspace(-1, 1, 16), seconds

    def infer(self, x: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds * len(x) / 1000)
        return x @ self.weights
'''
WEIGHTS = np.linspace(-1, 1, 16)
#: Rows of a slice, and of a batch of those who are given whole batches.
SLICE = 50_000


def write_source(file: Path, count: int) -> Path:
    """A Parquet file of *count* records of 16 floats."""
    rng = np.random.default_rng(1)
    kind = pa.schema([("id", pa.string()), ("x", pa.list_(pa.float32(), 16))])
    with pq.ParquetWriter(file, kind) as writer:
        for start in range(0, count, 50_000):
            size = min(50_000, count - start)
            ids = pa.array([f"r{n}" for n in range(start, start + size)])
            numbers = pa.array(rng.standard_normal(size * 16, dtype=np.float32))
            writer.write_table(pa.table({"id": ids, "x": pa.FixedSizeListArray.from_arrays(numbers, 16)}, schema=kind))
    return file


def batches(file: Path, batch: int) -> Iterator[tuple[list[str], npt.NDArray[np.float32]]]:
    """Ids and numbers, a batch at a time."""
    for page in pq.ParquetFile(file, pre_buffer=False).iter_batches(batch_size=batch):
        numbers = page.column(1).flatten().to_numpy(zero_copy_only=False).reshape(-1, 16)
        yield page.column(0).to_pylist(), numbers


def score(numbers: npt.NDArray[np.float32], seconds: float = 0.0) -> list[float]:
    """The tiny model."""
    time.sleep(seconds)
    scores: list[float] = (numbers @ WEIGHTS).tolist()
    return scores


def limner(file: Path, *, batch: int, seconds: float) -> tuple[Stopwatch, int]:
    """Limner over slices of the table: results stand by record and version, in one file for each slice."""
    import limner

    files = {"pipeline.py": SLICED.format(batch=SLICE, seconds=seconds), "work.py": OVER_COLUMNS}
    with project(files) as folder, limner.open(folder) as app:
        with stopwatch() as watch:
            summary = app.run("tiny", file)
        rows = pq.ParquetFile(file).metadata.num_rows
        assert summary.rows is not None
        assert summary.rows["score"].done == rows
        # Any of them is found by its id, with the value that the model gives.
        (found,) = (row for table in app.tables("things", ids=[f"r{rows // 2}"]) for row in table.to_pylist())
        assert abs(found["score.score"] - float(np.array(found["x"], dtype=np.float32) @ WEIGHTS)) < 1e-6
        with sqlite3.connect(folder / ".limner/limner.db") as connection:
            (slices,) = connection.execute("SELECT count(*) FROM results WHERE status = 1").fetchone()
        assert slices == -(-rows // SLICE)
    return watch, rows


def limner_by_record(file: Path, *, batch: int, seconds: float) -> tuple[Stopwatch, int]:
    """Limner with a row of the store for each record: the time of the run, and results that stand there."""
    import limner

    files = {"pipeline.py": PIPELINE.format(batch=batch, seconds=seconds), "work.py": INFERRERS}
    with project(files) as folder:
        with limner.open(folder) as app, stopwatch() as watch:
            summary = app.run("tiny", file)
        assert summary.done == summary.records == len(pq.read_table(file, columns=["id"]))
        with sqlite3.connect(folder / ".limner/limner.db") as connection:
            (stored,) = connection.execute("SELECT count(*) FROM results WHERE status = 1").fetchone()
    return watch, stored


def loop_to_parquet(file: Path, *, batch: int, seconds: float) -> tuple[Stopwatch, int]:
    """The bare loop: Parquet in, Parquet out; no process, no retry, no record of what was done."""
    kind = pa.schema([("id", pa.string()), ("score", pa.float64())])
    with project({}) as folder:
        with stopwatch() as watch, pq.ParquetWriter(folder / "out.parquet", kind) as writer:
            for ids, numbers in batches(file, batch):
                writer.write_batch(pa.record_batch([pa.array(ids), pa.array(score(numbers, seconds))], schema=kind))
        stored = pq.ParquetFile(folder / "out.parquet").metadata.num_rows
    return watch, stored


def loop_to_sqlite(file: Path, *, batch: int, seconds: float) -> tuple[Stopwatch, int]:
    """The bare loop into SQLite, a commit for every 50,000 results."""
    with project({}) as folder:
        connection = sqlite3.connect(folder / "limit.db", isolation_level=None)
        connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE results (record TEXT, version INTEGER, value REAL)"
        )
        with stopwatch() as watch:
            for group in grouped(batches(file, batch), max(1, 50_000 // batch)):
                connection.execute("BEGIN IMMEDIATE")
                for ids, numbers in group:
                    rows = zip(ids, itertools.repeat(1), score(numbers, seconds), strict=False)
                    connection.executemany("INSERT INTO results VALUES (?, ?, ?)", rows)
                connection.execute("COMMIT")
        (stored,) = connection.execute("SELECT count(*) FROM results").fetchone()
        connection.close()
    return watch, stored


def grouped(pages: Iterator[tuple[list[str], npt.NDArray[np.float32]]], size: int) -> Iterator[list[object]]:
    """*pages* in lists of *size*."""
    while group := list(itertools.islice(pages, size)):
        yield list(group)


def ray_data(file: Path, *, batch: int, seconds: float) -> tuple[Stopwatch, int]:
    """Ray Data as its guide to batch inference writes it: Parquet in, Parquet out."""
    import ray

    def infer(rows: dict[str, npt.NDArray[np.float32]]) -> dict[str, object]:
        numbers = np.stack(list(rows["x"])) if rows["x"].ndim == 1 else rows["x"]
        return {"id": rows["id"], "score": score(numbers, seconds * len(numbers) / 1000)}

    with project({}) as folder:
        out = folder / "out"
        with stopwatch() as watch:
            ray.init(num_cpus=os.cpu_count(), log_to_driver=False, include_dashboard=False)
            ray.data.DataContext.get_current().enable_progress_bars = False
            ray.data.read_parquet(str(file)).map_batches(infer, batch_size=SLICE).write_parquet(str(out))
        stored = sum(pq.ParquetFile(one).metadata.num_rows for one in out.glob("*.parquet"))
        ray.shutdown()
    return watch, stored


def pixeltable(file: Path, *, batch: int, seconds: float) -> tuple[Stopwatch, int]:
    """Pixeltable: a table of the rows, and a computed column by a batched function."""
    with project({}) as folder:
        os.environ["PIXELTABLE_HOME"] = str(folder / "pixeltable")
        os.environ["PIXELTABLE_VERBOSITY"] = "0"
        os.environ["BENCH_SECONDS"] = str(seconds)
        import pixeltable as pxt
        from peers.pixeltable_functions import infer

        with stopwatch() as watch:
            table = pxt.create_table("things", {"id": pxt.String, "x": pxt.Array[(16,), pxt.Float]})  # type: ignore[misc]
            table.add_computed_column(score=infer(table.x))
            for ids, numbers in batches(file, SLICE):
                table.insert([{"id": one, "x": row} for one, row in zip(ids, numbers.astype(np.float32), strict=True)])
        stored = int(table.where(table.score != None).count())  # noqa: E711  its own way to ask
    return watch, stored


def pool(file: Path, *, batch: int, seconds: float) -> tuple[Stopwatch, int]:
    """A pool of processes from the standard library; its results are counted and not stored."""
    stored = 0
    with stopwatch() as watch, multiprocessing.Pool(os.cpu_count()) as processes:
        work = ((numbers, seconds) for _, numbers in batches(file, batch))
        for scores in processes.imap(_score_of, work):
            stored += len(scores)
    return watch, stored


def _score_of(work: tuple[npt.NDArray[np.float32], float]) -> list[float]:
    return score(*work)


def main() -> None:
    """Measure one of them."""
    ways: dict[str, Callable[..., tuple[Stopwatch, int]]] = {
        "limner": limner,
        "limner, record by record": limner_by_record,
        "limit: loop to Parquet": loop_to_parquet,
        "limit: loop to SQLite": loop_to_sqlite,
        "multiprocessing": pool,
        "ray": ray_data,
        "pixeltable": pixeltable,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=ways, default="limner")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--model-ms", type=float, default=0.0, help="Milliseconds that the model takes for a batch.")
    asked = parser.parse_args()
    with project({}) as folder:
        # In a process of its own, so that its memory is not counted.
        file = folder / "in.parquet"
        writer = multiprocessing.Process(target=write_source, args=(file, asked.records))
        writer.start()
        writer.join()
        watch, stored = ways[asked.who](file, batch=asked.batch, seconds=asked.model_ms / 1e3)
    tell(
        work="B",
        who=asked.who,
        size=asked.records,
        model_ms=asked.model_ms,
        seconds=watch.seconds,
        rate=asked.records / watch.seconds,
        results=stored,
        peak_rss_mb=peak_mb(),
    )


if __name__ == "__main__":
    main()
