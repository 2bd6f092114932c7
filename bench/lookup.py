"""Work D: one of many stored results by its key over HTTP, and thousands of keys in one call."""

import argparse
import json
import random
import sqlite3
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import bulk
from http_load import loaded, request
from measuring import project, stopwatch, tell
from processes import free_port, listening, serving

HERE = Path(__file__).resolve().parent
PIPELINE = """
from limner import Pipeline, Stage

pipeline = Pipeline("tiny", collection="things", stages=[
    Stage("double", infer="work:double", reads={"n": "n"}, batch=512),
])
"""
INFERRERS = 'version = "1"\n\n\ndef double(n: list[int]) -> list[dict]:\n    return [{"x": 2 * one} for one in n]\n'
#: Keys in one call.
MANY = 5_000


def _measured(url: str, *, size: int, seconds: float, clients: int, one: str, many: str) -> dict[str, float]:
    """One at a time from *clients* connections; then many in one call, until its last byte, the best of a few."""
    rng = random.Random(1)
    asked = [request("GET", f"{url}{one.format(id=bulk.identity(rng.randrange(size)))}") for _ in range(5_000)]
    loaded(url, lambda number: asked[number % len(asked)], clients=clients, seconds=min(1.0, seconds))
    load = loaded(url, lambda number: asked[number % len(asked)], clients=clients, seconds=seconds)
    assert not load.refused, load.last
    assert "double" in json.loads(load.last)["values"]
    took = []
    for _ in range(10):
        numbers = rng.sample(range(size), min(MANY, size))
        body = json.dumps({"ids": [bulk.identity(number) for number in numbers]}).encode()
        with stopwatch() as watch:
            told = _post(url + many, body)
        answer = json.loads(told)
        assert [(item["id"], item["values"]["double"]["x"]) for item in answer["items"]] == [
            (bulk.identity(number), _double(number)) for number in numbers
        ]
        took.append(len(numbers) / watch.seconds)
    return {**load.figures(), "bulk_ids_per_s": max(took)}


def _double(number: int) -> int:
    """What is stored of a record; the blocks of :mod:`bulk` are alike."""
    return 2 * (number % bulk.BLOCK)


def _post(url: str, body: bytes) -> bytes:
    """The whole answer, as it came: what the client makes of it is none of the server's time."""
    asked = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        told: bytes = answer.read()
    return told


def limner(size: int, *, seconds: float, clients: int) -> dict[str, float]:
    """`limner serve` over a store that a run has filled; of more than ten thousand records, the others are copies."""
    import limner as product
    from limner.store.ledger import standing

    with project({"pipeline.py": PIPELINE, "work.py": INFERRERS}) as folder:
        first = min(size, bulk.BLOCK)
        rows = ({"id": bulk.identity(number), "n": number} for number in range(first))
        (folder / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        with product.open(folder) as app:
            assert app.run("tiny", folder / "in.jsonl").done == first
            for block in range(1, size // bulk.BLOCK):
                with app.store.transaction() as tx:
                    bulk.copy_block(tx, block, owner=standing("tiny"), now=time.time(), stages=1)
        with serving(folder, "--workers", "0") as server:
            way = "/api/v1/collections/things/records"
            found = _measured(
                server.url, size=size, seconds=seconds, clients=clients, one=f"{way}/{{id}}", many=f"{way}:lookup"
            )
            return {**found, "server_mb": server.peak_mb()}


def _other(app: str, *interface: str) -> Callable[..., dict[str, float]]:
    """A server of `peers/lookup_apps.py` over one table of SQLite."""

    def measure(size: int, *, seconds: float, clients: int) -> dict[str, float]:
        with project({}) as folder:
            with sqlite3.connect(folder / "results.db") as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("CREATE TABLE results (id TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
                connection.execute("CREATE TEMPORARY TABLE unsorted (id TEXT, value TEXT)")
                rows = ((bulk.identity(number), json.dumps({"x": _double(number)})) for number in range(size))
                connection.executemany("INSERT INTO unsorted VALUES (?, ?)", rows)
                connection.execute("INSERT INTO results SELECT id, value FROM unsorted ORDER BY id")
            connection.close()
            port = free_port()
            command = [sys.executable, "-m", "uvicorn", f"peers.lookup_apps:{app}", "--app-dir", str(HERE)]
            command += ["--port", str(port), "--log-level", "error", "--no-access-log", *interface]
            with listening(command, port=port, folder=folder, ready="/results/r0") as server:
                return _measured(
                    server.url, size=size, seconds=seconds, clients=clients, one="/results/{id}", many="/lookup"
                )

    return measure


def main() -> None:
    """Measure one of them."""
    ways: dict[str, Callable[..., dict[str, float]]] = {
        "limner": limner,
        "fastapi": _other("fastapi"),
        "limit": _other("bare"),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=ways, default="limner")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=32)
    asked = parser.parse_args()
    if asked.records > bulk.BLOCK and asked.records % bulk.BLOCK:
        parser.error(f"more than {bulk.BLOCK:,} records are whole times as many")
    figures = ways[asked.who](asked.records, seconds=asked.seconds, clients=asked.clients)
    tell(work="D", who=asked.who, size=asked.records, clients=asked.clients, **figures)


if __name__ == "__main__":
    main()
