"""The project that a cluster works on: three stages over plain numbers, with children and files."""

from pathlib import Path
from typing import NamedTuple

from limner.store.connect import connect_store

PIPELINE = """
from limner import Artifact, Number, Pipeline, Stage, Text

pipeline = Pipeline("numbers", collection="numbers", standing=False, stages=[
    Stage("split", infer="inferrers:split", kind="expand", of="parts", identity=["at"], reads={"n": "n"},
          batch=16, task_size=64),
    Stage("name", infer="inferrers:name", over="parts", reads={"at": "at", "n": "parent.n"},
          outputs={"name": Text()}, batch=32, task_size=128),
    Stage("draw", infer="inferrers:draw", reads={"n": "n"}, batch=16, task_size=64,
          outputs={"sum": Number(), "picture": Artifact(optional=True)}),
])
"""
#: Every so many-th number has a file of its digits, as `draw` below makes it.
PICTURED = 10
#: Slowed down by a file, so that a blow meets a job at work.
INFERRERS = '''
"""Three tiny models that can be slowed down."""

import time
from pathlib import Path


def pace() -> None:
    time.sleep(float(Path("pace").read_text()))


def split(n: int) -> list:
    pace()
    return [{"at": 10 * n + place} for place in range(n % 3)]


def name(at: int, n: int) -> dict:
    pace()
    return {"name": f"{n} has {at}"}


def draw(n: int) -> dict:
    pace()
    picture = {"picture": b"%d" % n} if n % 10 == 0 else {}
    return {"sum": n * (n + 1) // 2, **picture}
'''
_RESULTS = (
    "SELECT collections.name, records.id, nodes.stage, nodes.implementation, versions.digest, results.status,"
    " results.value_digest FROM results"
    " JOIN records ON records.pk = results.record JOIN collections ON collections.pk = records.collection"
    " JOIN nodes ON nodes.pk = results.node JOIN versions ON versions.pk = results.version"
)


class Place(NamedTuple):
    """What a result is of."""

    collection: str
    record: str
    stage: str
    implementation: str
    version: str


def write_project(folder: Path, settings: str) -> Path:
    """A project in a new folder."""
    folder.mkdir(parents=True)
    (folder / "pipeline.py").write_text(PIPELINE)
    (folder / "inferrers.py").write_text(INFERRERS)
    (folder / "pace").write_text("0")
    (folder / "limner.toml").write_text(settings)
    return folder


def results_in(store: str) -> dict[Place, tuple[int, bytes]]:
    """Status and value digest of everything that was inferred; nothing is there twice."""
    opened = connect_store(store)
    try:
        with opened.reading() as tx:
            rows = tx.connection.exec_driver_sql(_RESULTS).all()
    finally:
        opened.close()
    found = {Place(*row[:5]): (int(row[5]), bytes(row[6])) for row in rows}
    assert len(found) == len(rows), "a record has two results of one stage, implementation and version"
    return found
