"""Defects of the original pipeline that cannot happen here: slices, headers, and runs that come again."""

import pytest

from limner.systems.ersilia.library.index import LibraryIndex, write_index
from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.precalc.shards import shards_of, spans_of
from tests.systems.ersilia.calculating import Bench


def test_no_worker_is_ever_empty() -> None:
    """Every number of inputs from 1 to 2,999 can be shared by fifty workers, and none of them is left without any."""
    for count in range(1, 3_000):
        sizes = shards_of(count, workers=50)
        assert min(sizes) >= 1
        assert sum(sizes) == count


@pytest.mark.parametrize("count", [10, 99, 1_999_999])
def test_no_row_is_lost_to_integer_division(count: int) -> None:
    """The shards of fifty workers hold all rows, whether or not they can be divided evenly."""
    ends = [0]
    for start, end in spans_of(shards_of(count, workers=50)):
        assert start == ends[-1]
        ends.append(end)
    assert ends[-1] == count


def test_a_file_without_header_keeps_its_first_molecule(bench: Bench) -> None:
    """Thirty lines without a header are thirty molecules."""
    smiles = made_molecules(30)
    file = bench.folder / "library.csv"
    file.write_text("\n".join(smiles))
    library = write_index(file, to=bench.folder / "index")
    assert library.rows == library.molecules == 30
    assert next(LibraryIndex(bench.folder / "index").rows()).smiles == smiles[0]


@pytest.mark.slow
def test_missing_one_input_does_not_end_the_run(bench: Bench) -> None:
    """A row that holds nothing is set aside by its number; all others are predicted."""
    bench.noting()
    outcome = bench.run(bench.library(["CCO", '""', "CC"]))
    assert outcome.by_row == {2: "empty_input"}
    assert outcome.counts.stored == 2


@pytest.mark.slow
def test_success_exits_zero(bench: Bench) -> None:
    """A run in which every molecule was stored ends with exit status 0."""
    bench.noting()
    ran = bench.limner("precalc", "eos0pln", "--library", str(bench.library(["CCO", "CC"])), "--workers", "2")
    assert ran.returncode == 0, ran.stderr
    assert "2 rows: 2 stored, 0 failed" in ran.stdout


@pytest.mark.slow
def test_a_rerun_adds_no_rows(bench: Bench) -> None:
    """The prediction table has as many keys after a second run, which predicts nothing."""
    bench.noting()
    library = bench.library(made_molecules(12))
    bench.run(library)
    counted = bench.meta()["total_unique_preds"]

    second = bench.run(library)

    assert bench.meta()["total_unique_preds"] == counted == 12
    assert (second.inferred, bench.predicted()) == (0, 12)


@pytest.mark.slow
def test_two_runs_never_overwrite_each_other(bench: Bench) -> None:
    """The files of a second run lie beside those of the first, which stay as they were: each is named by its job."""
    bench.noting()
    library = bench.library(made_molecules(12))

    first = bench.run(library)
    before = {file.name: file.read_bytes() for file in (bench.folder / "out" / "eos0pln").iterdir()}

    second = bench.run(library)

    after = {file.name: file.read_bytes() for file in (bench.folder / "out" / "eos0pln").iterdir()}
    assert {name: after[name] for name in before} == before
    assert {name.rpartition("_")[0] for name in after} == {first.job, second.job}
