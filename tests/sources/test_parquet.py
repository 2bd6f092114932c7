"""Parquet as a source."""

import datetime
import decimal
from pathlib import Path

import pytest

from limner.errors import UsageError
from tests.sources.helpers import taken, written

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def test_rows_with_their_types(tmp_path: Path) -> None:
    """Numbers, lists and structs stay what they are; null and NaN are no value; times become text."""
    # given
    table = pa.table(
        {
            "id": pa.array([1, 2]),
            "title": ["x", None],
            "score": [float("nan"), 0.5],
            "vector": pa.array([[1.0, 2.0], None], pa.list_(pa.float32())),
            "when": pa.array([datetime.datetime(2025, 4, 1, tzinfo=datetime.UTC), None]),
            "price": pa.array([decimal.Decimal("1.20"), None]),
            "work": [{"name": "w", "day": datetime.date(1900, 1, 2)}, None],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")

    # when
    records, aside = taken(tmp_path / "t.parquet")

    # then
    assert aside == []
    assert [(record.id, record.fields) for record in records] == [
        (
            "1",
            {
                "title": "x",
                "vector": [1.0, 2.0],
                "when": "2025-04-01T00:00:00+00:00",
                "price": "1.20",
                "work": {"name": "w", "day": "1900-01-02"},
            },
        ),
        ("2", {"score": 0.5}),
    ]


def test_a_damaged_row_group_costs_its_rows(tmp_path: Path) -> None:
    """Rows of a row group that cannot be read are set aside one by one; the other groups are taken."""
    # given
    file = tmp_path / "t.parquet"
    table = pa.table({"id": [f"r{n}" for n in range(30)], "text": [f"text {n * 7919}" for n in range(30)]})
    pq.write_table(table, file, row_group_size=10, compression="zstd", use_dictionary=False)
    column = pq.ParquetFile(file).metadata.row_group(1).column(1)
    data = bytearray(file.read_bytes())
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    file.write_bytes(data)

    # when
    records, aside = taken(file)

    # then
    assert [record.id for record in records] == [f"r{n}" for n in [*range(10), *range(20, 30)]]
    assert [item.row for item in aside] == list(range(11, 21))
    assert "row group, 2 of 3" in aside[0].reason


def test_bad_rows(tmp_path: Path) -> None:
    """A row without id and one with an id that stood before are set aside by their number."""
    # given
    pq.write_table(pa.table({"id": ["a", None, "a"]}), tmp_path / "t.parquet")

    # when
    records, aside = taken(tmp_path / "t.parquet")

    # then
    assert [record.id for record in records] == ["a"]
    assert [(item.row, item.reason) for item in aside] == [
        (2, "It has no id."),
        (3, "Rows 1 and 3 have the same id, 'a'; the first was taken."),
    ]


def test_no_parquet(tmp_path: Path) -> None:
    """A file that is no Parquet, or has no id column, is refused as a whole."""
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="has no column id; it has: name"):
        taken(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="no readable Parquet"):
        taken(written(tmp_path, "bad.parquet", b"PAR1 nonsense PAR1"))
