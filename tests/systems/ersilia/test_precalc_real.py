"""Libraries of the hub itself go through its own models: counts, reasons, weights and speed."""

import csv
import json
import time
from pathlib import Path

import pytest

from tests.systems.ersilia.calculating import Bench

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

MODEL = "eos3b5e"


@pytest.mark.parametrize("name", ["dirty_smiles", "dirty_keyed"])
def test_e6_planted_defects_are_told_row_by_row(name: str, bench: Bench, shared_data: Path) -> None:
    """Every planted defect has its reason, every other row is stored, and the exit status says that some failed."""
    folder = shared_data / "ersilia" / "dirty"
    expected = json.loads((folder / f"{name}.expected.json").read_text())

    ran = bench.limner("precalc", MODEL, "--library", str(folder / f"{name}.csv"), "--workers", "2", "--json")

    told = json.loads(ran.stdout)
    counts = told["counts"]
    assert ran.returncode == 1
    assert told["state"] == "done_with_failures"
    assert told["by_row"] == expected["by_row"]
    assert {"done": counts["stored"], **counts["reasons"]} == expected["counts"]
    assert (counts["rows"], counts["blank_lines"]) == (expected["rows"], expected.get("blank_lines", 0))
    ended = ("stored", "failed", "skipped", "cancelled", "duplicate_row", "duplicate_key")
    assert counts["rows"] == sum(counts[end] for end in ended)


def test_e7_the_originals_own_fixture(bench: Bench, shared_data: Path) -> None:
    """Thirty molecules without a header give the thirty keys and weights that the original stored."""
    folder = shared_data / "ersilia" / "upstream"
    with (folder / "test_output.csv").open(newline="") as file:
        expected = {row["key"]: float(row["mw"]) for row in csv.DictReader(file)}

    outcome = bench.run(folder / "test_input.csv", model=MODEL, workers=2)

    rows = bench.rows(outcome.job, model=MODEL)
    (column,) = set(rows[0]) - {"key", "input"}
    assert {row["key"]: float(row[column]) for row in rows} == expected
    assert len(rows) == outcome.counts.stored == 30


def test_e4_samples_and_then_the_whole_library(bench: Bench, shared_data: Path) -> None:
    """Samples of any number store so many; the whole library after them predicts only what they left out."""
    library = shared_data / "ersilia" / "library" / "ErsiliaREF_000.csv"

    samples = {number: bench.run(library, model=MODEL, sample=number) for number in (1, 7, 10, 100)}
    whole = bench.run(library, model=MODEL)

    assert {number: outcome.counts.stored for number, outcome in samples.items()} == {1: 1, 7: 7, 10: 10, 100: 100}
    assert samples[10].library.name == "reference_library_10.csv"
    counts = whole.counts
    assert (counts.rows, counts.stored, counts.duplicate_row, counts.failed) == (10_000, 9_997, 3, 0)
    assert whole.inferred == 9_897


@pytest.mark.timed
def test_e19_twenty_thousand_rows(bench: Bench, shared_data: Path) -> None:
    """Two files of the reference library, with keys, take less than 40 seconds on two cores."""
    folder = shared_data / "ersilia" / "library"
    library = bench.folder / "library.csv"
    library.write_text(
        "".join((folder / f"ErsiliaREF_00{n}.csv").read_text() for n in range(2)).replace("smiles\n", "")
    )

    began = time.monotonic()
    outcome = bench.run(library, model=MODEL, workers=2)

    assert time.monotonic() - began < 40
    assert (outcome.counts.rows, outcome.counts.stored) == (20_000, 19_994)
