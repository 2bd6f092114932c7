"""Publishing by several processes, some of which are killed, and in little memory."""

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import structs

from limner.systems.ersilia.predictions.connect import connect_files, connect_predictions
from limner.systems.ersilia.predictions.crew import writers_for
from limner.systems.ersilia.predictions.publisher import publish
from tests.systems.ersilia.prediction_table_contract import key_of
from tests.systems.ersilia.published import WIDE, Made, facts_of, publication_of
from tests.systems.ersilia.published_files import LAKE, VERSION, lake_of, meta_in, whole_state


@pytest.mark.parametrize(
    ("rows", "wide", "place", "writers"),
    [
        (0, False, "store", 1),
        (20_000, False, "store", 1),
        (120_000, False, "store", 3),
        (10_000, True, "store", 8),
        (900, False, "s3://bucket/store", 1),
        (2_500, False, "s3://bucket/store", 3),
        (20_000, False, "dynamodb://table", 8),
    ],
)
def test_processes_are_started_where_they_pay(table: Path, rows: int, wide: bool, place: str, writers: int) -> None:
    """A process more is worth its start for many rows, wide ones, or where it waits for a network."""
    facts = facts_of(Made(rows_each=50, count=50, wide=wide))
    facts = structs.replace(facts, counts=structs.replace(facts.counts, rows=rows))
    publication = publication_of(Made(rows_each=50, count=50), table=table, places=[place], facts=facts)

    assert writers_for(publication, workers=50) == writers
    assert writers_for(publication, workers=1) == 1


@pytest.mark.slow
def test_several_processes_publish_at_once(table: Path, tmp_path: Path) -> None:
    """Batches are written beside each other, and come to the same as by one process."""
    made = Made(rows_each=50, count=400, slow=0.3)
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    publish(publication_of(Made(rows_each=50, count=400), table=tmp_path / "alone.db", places=[alone]), workers=1)

    published = publish(publication_of(made, table=table, places=[beside]), workers=3)

    spans = sorted(published.places[connect_files(str(beside)).url()].spans, key=lambda span: span[1])
    assert len({worker for worker, *_ in spans}) == 3
    assert any(one[0] != other[0] and other[1] < one[2] for one, other in pairwise(spans)), (
        "no two batches of two processes overlap"
    )
    shards = {name: data for name, data in whole_state(beside).items() if name.endswith((".csv", ".parquet"))}
    assert shards == {name: data for name, data in whole_state(alone).items() if name in shards}
    assert len(shards) == 8 + 8 + 1


@pytest.mark.slow
def test_e9_a_killed_process_is_replaced(table: Path, tmp_path: Path) -> None:
    """A process that is killed within a batch costs that batch's time; everything arrives once."""
    memory = tmp_path / "killed"
    made = Made(rows_each=50, count=300, killed_in=2, remembers=str(memory))

    facts = facts_of(Made(rows_each=50, count=300))
    published = publish(publication_of(made, table=table, places=[tmp_path / "store"], facts=facts), workers=2)

    assert memory.exists()
    files = connect_files(str(tmp_path / "store"))
    assert published.stored == 300
    assert lake_of(files, LAKE).column("key").to_pylist() == [key_of(n) for n in range(300)]
    assert [name for name in whole_state(tmp_path / "store") if ".part" in name] == []


_ALONE = """
import sys
from pathlib import Path
from limner.systems.ersilia.predictions.publisher import publish
from tests.systems.ersilia.published_files import LAKE, VERSION, lake_of, meta_in, whole_state
from tests.systems.ersilia.published import Made, facts_of, publication_of

if __name__ == "__main__":
    table, store, memory = map(Path, sys.argv[1:])
    made = Made(rows_each=50, count=300, killed_in=3, remembers=str(memory))
    facts = facts_of(Made(rows_each=50, count=300))
    publish(publication_of(made, table=table, places=[store], facts=facts), workers=1)
"""


@pytest.mark.slow
def test_e9_a_killed_publisher_goes_on_where_it_was(table: Path, tmp_path: Path, repository: Path) -> None:
    """Killed within the fourth of six batches and run again, it writes three, and all is as if never killed."""
    store = tmp_path / "store"
    command = [sys.executable, "-c", _ALONE, str(table), str(store), str(tmp_path / "memory")]
    killed = subprocess.run(command, cwd=repository, env={**os.environ, "PYTHONPATH": str(repository)})
    assert killed.returncode == -signal.SIGKILL
    half = {name for name in whole_state(store) if name.startswith("out/") and name.endswith(".csv")}
    assert len(half) >= 3

    seen: list[tuple[int, int]] = []
    made = Made(rows_each=50, count=300)
    again = publish(
        publication_of(made, table=table, places=[store]), progress=lambda done, total: seen.append((done, total))
    )

    assert seen == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert again.stored == 300
    files = connect_files(str(store))
    assert lake_of(files, LAKE).column("key").to_pylist() == [key_of(n) for n in range(300)]
    assert meta_in(files)["total_unique_preds"] == 300
    opened = connect_predictions(f"sqlite:///{table}")
    assert opened.count("eos3b5e", VERSION) == 300
    opened.close()


_MEMORY = """
import sys
from pathlib import Path
from limner.systems.ersilia.predictions.publisher import publish
from tests.systems.ersilia.published_files import LAKE, VERSION, lake_of, meta_in, whole_state
from tests.systems.ersilia.published import Made, publication_of

table, store = map(Path, sys.argv[1:])
publish(publication_of(Made(rows_each=10_000, count=10_000, wide=True), table=table, places=[store]))
# ru_maxrss would not do: a new process starts with what its parent, here the tests, held.
print(next(line.split()[1] for line in Path("/proc/self/status").open() if line.startswith("VmHWM:")))
"""


@pytest.mark.slow
def test_e21_wide_batches_stay_below_a_gigabyte(table: Path, tmp_path: Path, repository: Path) -> None:
    """10,000 molecules with 2,048 values each take less than 1 GB of memory, and less than 10 MB of Parquet."""
    command = [sys.executable, "-c", _MEMORY, str(table), str(tmp_path / "store")]

    done = subprocess.run(
        command, cwd=repository, env={**os.environ, "PYTHONPATH": str(repository)}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_000_000, f"{done.stdout} kB"
    assert (
        tmp_path / "store" / f"lake/model_id=eos5axz/version={WIDE.version}/part-00000.parquet"
    ).stat().st_size < 10_000_000
