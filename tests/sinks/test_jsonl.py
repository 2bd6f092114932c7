"""JSON Lines out, and in again."""

import gzip
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.domain.records import ExportRow, RecordIn, Shape
from limner.sinks.base import export
from limner.sinks.connect import connect_sink
from limner.sinks.layout import Layout
from limner.sources.connect import connect_source
from tests.sinks.examples import BARE, FULL, exported

IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50).filter(str.strip)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
RECORDS = st.builds(
    RecordIn,
    collection=st.just("images"),
    id=IDS,
    fields=st.dictionaries(TEXTS | st.sampled_from(["id", "limner", "parent", "version", "fields"]), JSON, max_size=6),
    revision=st.none() | TEXTS,
    source_version=st.none() | NUMBERS,
    parent=st.none() | st.tuples(IDS, IDS),
)


@given(records=st.lists(RECORDS, max_size=5, unique_by=lambda record: record.id))
def test_any_record_comes_back_equal(tmp_path_factory: pytest.TempPathFactory, records: list[RecordIn]) -> None:
    """Any record written as JSON Lines and read again is equal, whatever its fields are called."""
    # given
    path = tmp_path_factory.mktemp("jsonl") / "records.jsonl"

    # when
    export([[ExportRow(record=record) for record in records]], to=connect_sink(path), layout=Layout())
    again = [item for page in connect_source(path, collection="images").read() for item in page] if records else []

    # then
    assert again == records


def test_values_and_provenance(tmp_path: Path) -> None:
    """A line holds the record, its values by stage and what made them; what is absent is left out."""
    # when
    lines = exported(tmp_path / "out.jsonl", [FULL, BARE]).read_bytes().splitlines()

    # then
    full, bare = (msgspec.json.decode(line) for line in lines)
    assert full["fields"] == FULL.record.fields
    assert full["values"]["palette"]["vector"] == [0.10000000149011612, -1.5]
    assert full["values"]["codes"]["code"] == "01ff"
    assert full["provenance"] == {
        "palette": {"version": "v1", "model": None, "input": "i1"},
        "codes": {"version": "v2", "model": "m2", "input": None},
    }
    assert bare == {"limner": "record/1", "collection": "images", "id": "b", "fields": BARE.record.fields}


def test_packed_lines_repeat_themselves(tmp_path: Path) -> None:
    """A packed export unpacks to the same lines, and the same rows make the same bytes."""
    plain = exported(tmp_path / "out.jsonl", [FULL])
    packed = exported(tmp_path / "one.jsonl.gz", [FULL])
    again = exported(tmp_path / "two.jsonl.gz", [FULL])
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert packed.read_bytes() == again.read_bytes()


def test_a_shape_writes_its_own_lines(tmp_path: Path) -> None:
    """With a shape each line is what the shape makes of the row."""
    # given
    shape = Shape(name="short", about="Ids.", read=lambda row, collection: [], write=lambda row: {"k": row.record.id})
    sink = connect_sink(tmp_path / "out.ndjson", shape=shape)

    # when
    export([[FULL, BARE]], to=sink, layout=Layout())

    # then
    assert (tmp_path / "out.ndjson").read_text() == '{"k":"a"}\n{"k":"b"}\n'
