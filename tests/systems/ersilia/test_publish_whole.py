"""Molecules of a real library through a real model to every kind of place at once, by one command."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

from limner.settings import Project, Settings
from limner.systems.ersilia.predictions.connect import connect_own, connect_predictions, predictions_url
from tests.systems.ersilia.calculating import Bench
from tests.systems.ersilia.simulated_cloud import new_table, simulated_cloud


@pytest.fixture
def table() -> Iterator[str]:
    """A table in a simulated cloud."""
    with simulated_cloud() as endpoint:
        yield new_table(endpoint)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.real_data
def test_e23_a_library_goes_to_every_place(bench: Bench, table: str, shared_data: Path) -> None:
    """All 10,000 rows are predicted and published to three places by several processes at once, and add up."""
    library = shared_data / "ersilia" / "library" / "ErsiliaREF_000.csv"
    words = ["precalc", "eos3b5e", "--library", str(library), "--workers", "4"]

    ran = bench.limner(*words, "--to", table, "--to", str(bench.folder), "--json")

    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["counts"]["stored"], told["counts"]["duplicate_row"], told["workers_used"]) == (9_997, 3, 4)
    url = predictions_url(Project(folder=bench.folder, settings=Settings()))
    own = connect_own(url)
    assert own.count("eos3b5e", told["version"]) == 9_997
    for place in (own.describe(), f"predictions in dynamodb://{urlsplit(table).netloc}", bench.folder.as_uri()):
        outcomes = own.cursor().outcomes(told["job"], place).values()
        assert sum(outcome.new for outcome in outcomes) == 9_997, place
        overlapping = [
            (one.worker, other.worker)
            for one, other in combinations(outcomes, 2)
            if one.worker != other.worker and one.began < other.ended and other.began < one.ended
        ]
        assert overlapping, place
    own.close()
    lake = pq.read_table(bench.folder / "lake" / "model_id=eos3b5e" / f"version={told['version']}")
    assert len(set(lake.column("key").to_pylist())) == 9_997
    rows = bench.rows(told["job"], model="eos3b5e")
    assert len(rows) == 9_997
    sample = rows[::31]
    found = connect_predictions(table).read("eos3b5e", told["version"], [row["key"] for row in sample])
    assert [found[row["key"]].smiles for row in sample] == [row["input"] for row in sample]
    audited = bench.limner("audit", "--library", str(library))
    assert audited.returncode == 0, audited.stdout + audited.stderr
