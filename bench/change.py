"""Work F: records through three stages, then nothing changed, then a new version of the last stage."""

import argparse
import sqlite3
from collections.abc import Callable
from pathlib import Path

from measuring import project, stopwatch, tell, write_lines

PIPELINE = """
from limner import Pipeline, Stage

pipeline = Pipeline("tiny", collection="things", stages=[
    Stage("double", infer="first:double", reads={{"n": "n"}}, batch=512),
    Stage("square", infer="second:square", reads={{"n": "double.x"}}, batch=512),
    Stage("label", infer="third:label", reads={{"n": "square.x"}}, batch=512),
][:{stages}])
"""
FIRST = 'version = "1"\n\n\ndef double(n: list[int]) -> list[dict]:\n    return [{"x": 2 * one} for one in n]\n'
SECOND = 'version = "1"\n\n\ndef square(n: list[int]) -> list[dict]:\n    return [{"x": one * one} for one in n]\n'
THIRD = (
    'version = "{version}"\n\n\ndef label(n: list[int]) -> list[dict]:\n    return [{{"t": f"{{one}}"}} for one in n]\n'
)


def limner(count: int, *, stages: int) -> dict[str, float | int]:
    """Limner: a first run, two with nothing to do, and one after the last stage has a new version."""
    files = {
        "pipeline.py": PIPELINE.format(stages=stages),
        "first.py": FIRST,
        "second.py": SECOND,
        "third.py": THIRD.format(version="1"),
    }
    figures: dict[str, float | int] = {}
    with project(files) as folder:
        source = write_lines(folder / "in.jsonl", count)
        figures["fill_s"], figures["filled"] = _run(folder, source, count)
        figures["noop_s"], figures["noop_inferred"] = _run(folder, None, count)
        figures["noop_with_source_s"], figures["noop_with_source_inferred"] = _run(folder, source, count)
        if stages == 3:
            (folder / "third.py").write_text(THIRD.format(version="2"))
            figures["change_s"], figures["change_inferred"] = _run(folder, None, count)
            figures["change_rate"] = count / figures["change_s"]
    return figures


def _run(folder: Path, source: Path | None, count: int) -> tuple[float, int]:
    """Seconds of a run in a new application, and what it inferred."""
    import limner

    with stopwatch() as watch, limner.open(folder) as app:
        summary = app.run("tiny", source)
    assert (summary.records, summary.done) == (count, count)
    return watch.seconds, summary.inferred


def limit(count: int, *, stages: int) -> dict[str, float | int]:
    """SQLite alone: what lacks a result of the new version is one indexed anti-join; then a value for each."""
    with project({}) as folder:
        connection = sqlite3.connect(folder / "limit.db", isolation_level=None)
        connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE records (pk INTEGER PRIMARY KEY);"
            "CREATE TABLE results (record INTEGER, stage INTEGER, version INTEGER, value BLOB,"
            " PRIMARY KEY (record, stage, version)) WITHOUT ROWID"
        )
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO records VALUES (?)", ((key,) for key in range(count)))
        rows = ((key, stage, 1, b"1") for key in range(count) for stage in range(stages))
        connection.executemany("INSERT INTO results VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        missing = (
            "SELECT pk FROM records WHERE NOT EXISTS"
            " (SELECT 1 FROM results WHERE record = pk AND stage = ? AND version = ?)"
        )
        with stopwatch() as nothing:
            assert connection.execute(missing, (stages - 1, 1)).fetchall() == []
        with stopwatch() as change:
            stale = connection.execute(missing, (stages - 1, 2)).fetchall()
            connection.execute("BEGIN IMMEDIATE")
            made = ((key, stages - 1, 2, b"%d" % key) for (key,) in stale)
            connection.executemany("INSERT INTO results VALUES (?, ?, ?, ?)", made)
            connection.execute("COMMIT")
        connection.close()
    return {
        "noop_s": nothing.seconds,
        "change_s": change.seconds,
        "change_inferred": len(stale),
        "change_rate": count / change.seconds,
    }


def main() -> None:
    """Measure one of them."""
    ways: dict[str, Callable[..., dict[str, float | int]]] = {"limner": limner, "limit": limit}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--who", choices=ways, default="limner")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--stages", type=int, choices=(1, 3), default=3, help="With 1 nothing is changed.")
    asked = parser.parse_args()
    figures = ways[asked.who](asked.records, stages=asked.stages)
    tell(
        work="F",
        who=asked.who,
        size=asked.records,
        stages=asked.stages,
        **{name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()},
    )


if __name__ == "__main__":
    main()
