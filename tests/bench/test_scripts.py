"""Every benchmark runs on a small size and counts real results; how fast they are is not a matter of a test."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def bench(repository: Path, tmp_path: Path) -> "Bench":
    """The benchmarks, run in an empty folder."""
    return Bench(repository / "bench", tmp_path)


class Bench:
    """Runs scripts."""

    def __init__(self, scripts: Path, folder: Path) -> None:
        self._scripts = scripts
        self.folder = folder

    def run(self, script: str, *options: str) -> str:
        """What it printed."""
        command = [sys.executable, str(self._scripts / script), *options]
        return subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True).stdout

    def figures(self, script: str, *options: str) -> dict[str, Any]:
        """The JSON object that it printed."""
        told: dict[str, Any] = json.loads(self.run(script, *options))
        return told


@pytest.mark.slow
@pytest.mark.parametrize("who", ["limner", "limit"])
def test_a_durable_pipeline_stores_two_results_a_record(bench: Bench, who: str) -> None:
    """Work A ends with a stored result of each stage for each record."""
    figures = bench.figures("pipeline.py", "--who", who, "--records", "300")
    assert (figures["work"], figures["who"], figures["size"], figures["results"]) == ("A", who, 300, 600)
    assert figures["rate"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "who",
    ["limner", "limner, record by record", "multiprocessing", "limit: loop to Parquet", "limit: loop to SQLite"],
)
def test_batch_inference_has_a_result_for_each_record(bench: Bench, who: str) -> None:
    """Work B ends with a score for each record, whoever computes it."""
    figures = bench.figures("batch.py", "--who", who, "--records", "1050", "--batch", "100", "--model-ms", "1")
    assert (figures["work"], figures["who"], figures["results"]) == ("B", who, 1050)
    assert figures["peak_rss_mb"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("who", ["limner", "limit"])
def test_a_changed_stage_is_the_only_one_that_runs(bench: Bench, who: str) -> None:
    """Work F infers each record once for the new version, and nothing where nothing changed."""
    figures = bench.figures("change.py", "--who", who, "--records", "300")
    assert figures["change_inferred"] == 300
    if who == "limner":
        assert figures["filled"] == 900
        assert (figures["noop_inferred"], figures["noop_with_source_inferred"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["limner", "fastapi", "limit"])
def test_online_requests_are_answered(bench: Bench, who: str) -> None:
    """Work C is answered by every contender, with the right numbers."""
    figures = bench.figures("online.py", "--who", who, "--seconds", "0.3", "--clients", "4")
    assert (figures["work"], figures["who"], figures["refused"]) == ("C", who, 0)
    assert figures["requests"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("who", ["limner", "fastapi", "limit"])
def test_results_are_looked_up(bench: Bench, who: str) -> None:
    """Work D finds stored values, one at a time and many in a call."""
    figures = bench.figures("lookup.py", "--who", who, "--records", "500", "--seconds", "0.3", "--clients", "4")
    assert (figures["work"], figures["who"], figures["refused"]) == ("D", who, 0)
    assert figures["bulk_ids_per_s"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("who", ["limner", "limit: RDKit alone"])
def test_a_library_goes_through_a_model(bench: Bench, who: str) -> None:
    """Every molecule is predicted once by either."""
    figures = bench.figures("precalc.py", "--who", who, "--records", "60")
    assert (figures["who"], figures["results"]) == (who, 60)


@pytest.mark.slow
@pytest.mark.timed
def test_kills_lose_and_double_nothing(bench: Bench) -> None:
    """Work E ends with a result for each record, every look at the counts added up, and little was done again."""
    figures = bench.figures("kills.py", "--records", "200")
    assert (figures["results"], figures["lost"], figures["doubled"], figures["wrong_counts"]) == (200, 0, 0, 0)
    assert figures["count_reads"] > 0
    # Two were killed with at most one task of eight in hand each, and one was ready to be sent. Leases are of three
    # seconds, so nothing else may keep a worker from saying that it lives.
    assert figures["redone"] <= 32


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("bus", ["rabbitmq", "kafka"])
def test_kills_on_a_broker_lose_and_double_nothing(
    bench: Bench, require_service: Callable[[str], str], bus: str
) -> None:
    """Work E on a broker and PostgreSQL, both the script's own, ends as over HTTP."""
    for service in (bus, "postgresql"):
        require_service(service)
    figures = bench.figures("kills.py", "--bus", bus, "--records", "200")
    assert (figures["bus"], figures["store"]) == (bus, "postgresql")
    assert (figures["results"], figures["lost"], figures["doubled"], figures["wrong_counts"]) == (200, 0, 0, 0)
    assert figures["count_reads"] > 0


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("bus", ["rabbitmq", "kafka"])
def test_a_pipeline_on_a_broker_stores_two_results_a_record(
    bench: Bench, require_service: Callable[[str], str], bus: str
) -> None:
    """Work A on a broker ends with a stored result of each stage for each record, and knows what it cost."""
    for service in (bus, "postgresql"):
        require_service(service)
    figures = bench.figures("broker_pipeline.py", "--bus", bus, "--records", "300")
    assert (figures["bus"], figures["size"], figures["results"]) == (bus, 300, 600)
    assert figures["rate"] > 0
    assert figures["cpu_s"] > 0
    assert figures["servers_cpu_s"] > 0


@pytest.mark.slow
def test_far_workers_do_all_though_one_is_killed(bench: Bench) -> None:
    """Work G ends with every record done by those who are left."""
    figures = bench.figures("far.py", "--records", "30", "--workers", "3", "--seconds", "0.1")
    assert (figures["work"], figures["results"], figures["workers"]) == ("G", 30, 3)
    assert 0 < figures["share_of_ideal"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("what", ["enqueue", "take", "poll", "status"])
def test_the_server_is_loaded(bench: Bench, what: str) -> None:
    """Each load of the server is told with real counts: whatever is taken is committed, and by one worker."""
    figures = bench.figures("server.py", "--what", what, "--records", "300", "--workers", "3")
    assert (figures["work"], figures["size"]) == (f"server, {what}", 300)
    if what in ("take", "poll"):
        assert (figures["results"], figures["handed_twice"], figures["not_committed"]) == (300, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("index", ["sqlite", "postgresql"])
def test_searches_find_the_nearest(bench: Bench, require_service: Callable[[str], str], index: str) -> None:
    """Work I asks all kinds of questions of an index of either database, and finds what is nearest."""
    if index == "postgresql":
        require_service("postgresql")
    sizes = ("--documents", "400", "--length", "16", "--queries", "8", "--judged", "4")
    figures = bench.figures("search.py", "--index", index, *sizes)
    assert (figures["work"], figures["index"], figures["documents"]) == ("I", index, 400)
    assert figures["kinds"]["text filter near"]["p95_ms"] > 0
    assert figures["kinds"]["near"]["recall_at_10"] > 0.9


@pytest.mark.slow
def test_a_request_from_a_list_is_taken_in_bounded(bench: Bench) -> None:
    """A46, scaled down: all records of the list are taken in, progress never falls, and memory stays bounded."""
    figures = bench.figures("manifest.py", "--records", "20000")
    assert (figures["results"], figures["fell"]) == (20_000, 0)
    assert figures["progress_seen"] >= 1
    assert figures["server_mb"] < 500


@pytest.mark.slow
def test_the_footprint_is_that_of_an_environment(bench: Bench) -> None:
    """Work H counts packages and their size, starts the command, and gets to a first result."""
    figures = bench.figures("footprint.py", "--here", "--times", "1")
    assert figures["first_results"] == 1
    assert figures["packages"] > 10
    assert figures["megabytes"] > 10


@pytest.mark.slow
def test_the_runner_writes_a_table_with_ratios(bench: Bench) -> None:
    """A small run of one work ends in a table that names the machine, and in all figures as JSON."""
    # when
    bench.run("run.py", "--scale", "0.002", "--repeats", "1", "--only", "F", "--into", str(bench.folder))

    # then
    table = (bench.folder / "RESULTS.md").read_text()
    assert "## F: a new version" in table
    assert "| limit |" in table
    assert " cores, " in table
    (changed, nothing) = json.loads((bench.folder / "results.json").read_text())["works"]
    assert changed["runs"]["limner"][0]["change_inferred"] == 200
    assert nothing["runs"]["limner"][0]["noop_inferred"] == 0
