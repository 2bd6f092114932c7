"""Slices of a Parquet file: nothing lost, nothing doubled, bad rows set aside, the same bytes for the same rows."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.artifacts.connect import connect_artifacts
from limner.domain.records import RecordIn, SetAside
from limner.domain.slicing import SLICE
from limner.errors import UsageError
from limner.sources.base import Source
from limner.sources.connect import connect_slices


def slices(file: Path, rows: int, *, known: list[str] | None = None) -> Source:
    """The file as slices whose columns lie beside it."""
    return connect_slices(
        file,
        collection="things",
        rows=rows,
        keep=connect_artifacts(f"file:{file.parent}/artifacts").put,
        known=lambda _: known or [],
    )


def write(file: Path, columns: dict[str, object], *, group: int = 1000) -> Path:
    """A Parquet file of *columns* in row groups of *group*."""
    pq.write_table(pa.table(columns), file, row_group_size=group)
    return file


def taken(source: Source) -> tuple[list[RecordIn], list[SetAside]]:
    """The records and the rows set aside."""
    rows = [row for page in source.read() for row in page]
    return [row for row in rows if isinstance(row, RecordIn)], [row for row in rows if isinstance(row, SetAside)]


def table_of(record: RecordIn, folder: Path) -> pa.Table:
    """The rows of a slice."""
    path = connect_artifacts(f"file:{folder}/artifacts").path(str(record.fields[SLICE]).removeprefix("artifact:"))
    with pa.memory_map(str(path)) as mapped:
        return pa.ipc.open_file(mapped).read_all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 60), rows=st.integers(1, 70), group=st.integers(1, 70))
def test_every_row_stands_in_one_slice_in_its_order(tmp_path: Path, count: int, rows: int, group: int) -> None:
    """However a file is grouped, its slices hold its rows once, in order, none empty, all but the last full."""
    file = write(tmp_path / "t.parquet", {"id": [f"r{n}" for n in range(count)], "x": list(range(count))}, group=group)
    records, aside = taken(slices(file, rows))
    tables = [table_of(record, tmp_path) for record in records]
    assert not aside
    assert [x for table in tables for x in table.column("x").to_pylist()] == list(range(count))
    assert [table.num_rows for table in tables[:-1]] == [rows] * (len(tables) - 1)
    assert 0 < tables[-1].num_rows <= rows


def test_the_same_rows_are_the_same_bytes_however_they_were_grouped(tmp_path: Path) -> None:
    """A file that was written anew with other row groups changes no slice."""
    columns = {"id": [f"r{n}" for n in range(100)], "x": [[float(n)] * 3 for n in range(100)]}
    first, _ = taken(slices(write(tmp_path / "t.parquet", columns, group=7), 30))
    again, _ = taken(slices(write(tmp_path / "t.parquet", columns, group=64), 30))
    assert first == again


def test_bad_rows_are_set_aside_with_their_numbers(tmp_path: Path) -> None:
    """No id, an id that stands earlier, an infinite number: each costs its own row; NaN is no value."""
    columns: dict[str, object] = {
        "id": ["a", None, "a", "b", "", "c"],
        "x": [1.0, 2.0, 3.0, float("inf"), 5.0, float("nan")],
    }
    records, aside = taken(slices(write(tmp_path / "t.parquet", columns), 10))
    assert {row.row: row.reason.partition(" ")[0] for row in aside} == {2: "It", 3: "The", 4: "x", 5: "It"}
    assert table_of(records[0], tmp_path).to_pylist() == [{"id": "a", "x": 1.0}, {"id": "c", "x": None}]


def test_vectors_that_are_not_finite_are_set_aside(tmp_path: Path) -> None:
    """A vector with one NaN in it is no vector."""
    vectors = pa.array([[1.0, 2.0], [float("nan"), 1.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    records, aside = taken(slices(write(tmp_path / "t.parquet", {"id": ["a", "b", "c"], "x": vectors}), 10))
    assert [row.row for row in aside] == [2]
    assert table_of(records[0], tmp_path).column("id").to_pylist() == ["a", "c"]


def test_numbers_as_ids_become_text(tmp_path: Path) -> None:
    """A column of whole numbers may be the id."""
    records, _ = taken(slices(write(tmp_path / "t.parquet", {"id": [1, 2]}), 10))
    assert table_of(records[0], tmp_path).column("id").to_pylist() == ["1", "2"]


def test_slices_that_are_no_more_become_empty(tmp_path: Path) -> None:
    """A table that shrank leaves no rows of its old slices."""
    file = write(tmp_path / "t.parquet", {"id": ["a"]})
    records, _ = taken(slices(file, 1, known=["t.parquet:000000", "t.parquet:000001"]))
    assert [(record.id, record.fields.get("rows"), SLICE in record.fields) for record in records] == [
        ("t.parquet:000000", 1, True),
        ("t.parquet:000001", 0, False),
    ]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [("t.csv", b"id\na\n", "no Parquet file"), ("t.parquet", b"PAR1 cut", "cannot be read as Parquet")],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """A file that is no Parquet, or a damaged one, is said to be so."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=said):
        taken(slices(tmp_path / name, 10))


def test_a_file_without_ids_is_refused(tmp_path: Path) -> None:
    """The sentence names the columns that are there."""
    with pytest.raises(UsageError, match="no column id; it has: name"):
        taken(slices(write(tmp_path / "t.parquet", {"name": ["a"]}), 10))


#: Reads the table that it is told of as slices, and prints by how many megabytes its memory grew at most.
READS = """
import sys
from pathlib import Path
from limner.sources.connect import connect_slices

def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:"))

table = Path(sys.argv[1])
source = connect_slices(table, collection="things", rows=20_000, keep=lambda _: "0" * 64, known=lambda _: [])
slices = source.rows()
next(slices)
before, count = peak(), 1 + sum(1 for _ in slices)
print(peak() - before, count)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    """Of a table of 128 MB no more is held at a time than some slices of it."""
    # given a million rows that cannot be compressed
    rng = np.random.default_rng(1)
    numbers = pa.FixedSizeListArray.from_arrays(pa.array(rng.standard_normal(32_000_000, dtype=np.float32)), 32)
    ids = pa.array([f"r{number}" for number in range(1_000_000)])
    table = write(tmp_path / "in.parquet", {"id": ids, "x": numbers}, group=20_000)
    assert table.stat().st_size > 120_000_000

    # when
    asked = [sys.executable, "-c", READS, str(table)]
    grown, slices_read = map(int, subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())

    # then
    assert slices_read == 50
    assert grown < 60
