"""A precalculation that is stopped anywhere goes on where it was, and ends as if it had never been stopped."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from limner.domain.records import RecordIn, SetAside
from limner.errors import UsageError
from limner.systems.ersilia.library.index import LibraryIndex, write_index
from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.precalc.jobs import pages_of
from tests.processes import kill
from tests.systems.ersilia.calculating import Bench
from tests.waiting import until

#: Each call takes a while, so that there is a half-way.
SLOW = "import time\ntime.sleep(0.2)"
#: Ten molecules a call at most.
TEN_A_CALL = (0.1, 0.1, -1, -1, -1)


@pytest.mark.slow
def test_e9_killed_half_way_through_the_model(bench: Bench) -> None:
    """The same command after a kill goes on with the same job: no row is twice, and what was answered stays."""
    bench.noting(SLOW, seconds=TEN_A_CALL)
    library = bench.library(made_molecules(200))
    typed = ("precalc", "eos0pln", "--library", str(library), "--workers", "2", "--no-canary", "--json")
    with subprocess.Popen(
        bench.words(*typed),
        cwd=bench.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as killed:
        until(lambda: len(bench.calls()) >= 6)
        kill(killed)
    with bench.app() as app:
        (left,) = [job.id for job in app.jobs() if job.state == "running"]

    outcome = bench.run(library, canary=False)

    assert outcome.job == left
    assert outcome.counts.stored == 200
    assert len({row["key"] for row in bench.rows(left)}) == len(bench.rows(left)) == 200
    # Each of the two workers had one shard of a hundred in hand.
    assert 200 <= bench.predicted() <= 200 + 2 * 100
    assert bench.run(library, canary=False).inferred == 0


@pytest.mark.slow
def test_e9_a_killed_worker_costs_what_it_had_in_hand(bench: Bench) -> None:
    """A process of inference that is killed is replaced: its call is made again, and every row is stored once."""
    once = bench.folder / "killed"
    more = f"import signal\nif len(smiles) > 3 and not Path({str(once)!r}).exists():\n"
    more += f"    Path({str(once)!r}).touch()\n    os.kill(os.getpid(), signal.SIGKILL)"
    bench.noting(more, seconds=TEN_A_CALL)

    outcome = bench.run(bench.library(made_molecules(60)), workers=2)

    assert once.exists()
    assert (outcome.counts.stored, outcome.counts.failed) == (60, 0)
    assert len(bench.rows(outcome.job)) == 60


@pytest.mark.parametrize("taken", range(0, 26, 5))
def test_e9_an_intake_goes_on_behind_what_it_took(taken: int, tmp_path: Path) -> None:
    """What is left of a library after a stop is everything behind the rows that were taken, repeats left out."""
    file = tmp_path / "library.csv"
    rows = [*made_molecules(20), "C", "C,x", "CC", '""', "C1CC", "CCCCCCCCCC"]
    file.write_text("\n".join(rows))
    write_index(file, to=tmp_path / "index.parquet")
    index = LibraryIndex(tmp_path / "index.parquet")

    whole = _names(row for page in pages_of(index, after=0) for row in page)
    left = _names(row for page in pages_of(index, after=taken) for row in page)

    assert left == whole[taken:]
    assert len(whole) == 24


def _names(rows: Iterable[RecordIn | SetAside]) -> list[str]:
    return [row.id if isinstance(row, RecordIn) else str(row.row) for row in rows]


@pytest.mark.slow
def test_e9_publishing_goes_on_without_the_model(bench: Bench, tmp_path: Path) -> None:
    """What was predicted when a place could not be written is published by the same command, as the same job."""
    bench.noting()
    library = bench.library(made_molecules(30))
    place = tmp_path / "place"
    place.write_text("in the way")
    with pytest.raises(UsageError):
        bench.run(library, to=(str(place),))
    with bench.app() as app:
        (before, *_) = [job.id for job in app.jobs()]
    place.unlink()

    outcome = bench.run(library, to=(str(place),))

    assert outcome.job == before
    assert bench.predicted() == 30
    files = sorted((place / "out" / "eos0pln").iterdir())
    assert [file.name for file in files] == [f"{before}_0001.csv", f"{before}_0002.csv"]
