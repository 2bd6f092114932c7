"""A precalculation that is typed beside a server which infers nothing itself: all of it real processes."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from limner.settings import Project, Settings
from limner.systems.ersilia.library.index import record_id
from limner.systems.ersilia.predictions.connect import connect_own, predictions_url
from tests.cluster.servers import ServerProcess
from tests.processes import Running, clean_environment, start
from tests.store.databases import schema_url
from tests.systems.ersilia.calculating import Bench
from tests.waiting import until

PIPELINE = """
from pathlib import Path

from limner.systems.ersilia.pipeline import molecules_pipeline

pipeline = molecules_pipeline(Path(__file__).parent / "packages")
"""
#: Longer than any of it takes on a machine that does much else.
LONG = timedelta(minutes=3)


def settle(bench: Bench, settings: Mapping[str, object]) -> None:
    """Write the project's pipeline and its settings."""
    (bench.folder / "pipeline.py").write_text(PIPELINE)
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
    (bench.folder / "limner.toml").write_text("".join(lines))


@contextmanager
def store_url(server: str) -> Iterator[str]:
    """The URL of a store on *server* that nobody else uses; it is dropped in the end, its predictions, too."""
    with schema_url(server) as url:
        yield url
        predictions = predictions_url(Project(folder=Path(), settings=Settings(store=url)))
        with psycopg.connect(server, autocommit=True) as connection:
            name = sql.Identifier(predictions.partition("?schema=")[2])
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))


@contextmanager
def serving(bench: Bench) -> Iterator[ServerProcess]:
    """``limner serve --workers 0`` in the project, ready when the block begins."""
    server = ServerProcess(bench.folder, {})
    server.start()
    try:
        until(server.ready, within=LONG)
        yield server
    finally:
        server.kill()


class Typed(Running):
    """``limner precalc`` as a process."""

    def __init__(self, bench: Bench, library: Path, *options: str, model: str = "eos0pln") -> None:
        self._bench = bench
        self._words = bench.words("precalc", model, "--library", str(library), "--json", *options)
        self._said = bench.folder / "printed.json"

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it, as in a person's shell: what the project is set to stands in its file alone."""
        folder, clean = self._bench.folder, clean_environment()
        self._said.unlink(missing_ok=True)
        return start(self._words, folder=folder, said=self._said, environment=clean, errors=folder / "complained.txt")

    def outcome(self) -> dict[str, object]:
        """What it printed, once it has ended with status 0."""
        until(lambda: self.process.poll() is not None, within=LONG)
        assert self.process.returncode == 0, (self._bench.folder / "complained.txt").read_text()[-3000:]
        found: dict[str, object] = json.loads(self._said.read_text())
        return found


def predicted_by(bench: Bench, molecules: list[str], *, model: str = "eos0pln") -> Counter[str | None]:
    """By worker: how many of *molecules* it predicted, as ``limner why molecules MD5 --stage predict`` says."""
    found: Counter[str | None] = Counter()
    with bench.app() as app:
        for smiles in molecules:
            (origin,) = app.why("molecules", record_id(smiles), stage="predict").origins
            assert (origin.implementation, origin.status) == (model, "done")
            found[origin.worker] += 1
    return found


def check_published(
    bench: Bench, outcome: Mapping[str, object], molecules: list[str], *, model: str = "eos0pln"
) -> None:
    """Fail unless each of *molecules*, and no other, lies once in the files and in the prediction table."""
    counts, job = outcome["counts"], str(outcome["job"])
    assert isinstance(counts, Mapping)
    count = len(molecules)
    assert {name: counts[name] for name in ("rows", "stored", "failed", "skipped", "cancelled")} == {
        "rows": count,
        "stored": count,
        "failed": 0,
        "skipped": 0,
        "cancelled": 0,
    }
    rows = bench.rows(job, model=model)
    # The made package predicts how long a SMILES is.
    assert sorted((row["input"], row["value"]) for row in rows) == sorted((one, str(len(one))) for one in molecules)
    keys = [row["key"] for row in rows]
    assert len(set(keys)) == count
    with bench.app() as app:
        table = connect_own(predictions_url(app.project))
    try:
        assert table.count(model, str(outcome["version"])) == count
        found = table.read(model, str(outcome["version"]), keys)
    finally:
        table.close()
    assert {key: list(found[key].values or ()) for key in keys} == {row["key"]: [int(row["value"])] for row in rows}
