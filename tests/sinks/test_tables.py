"""CSV and Parquet exports."""

import base64
import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.domain.records import ExportRow, RecordIn
from limner.errors import UsageError
from limner.sinks.base import export
from limner.sinks.connect import connect_sink
from limner.sinks.layout import Layout, survey
from limner.sources.connect import connect_source
from tests.sinks.examples import BARE, FULL, OUTPUTS, VECTOR, exported

pq = pytest.importorskip("pyarrow.parquet")


def test_csv_columns(tmp_path: Path) -> None:
    """One column a field, output and digest; vectors as base64 of float32, nested values as JSON, absent ones empty."""
    # when
    with exported(tmp_path / "out.csv", [FULL, BARE]).open(newline="") as file:
        full, bare = csv.DictReader(file)

    # then
    assert full | {"palette.vector_b64": ""} == {
        "id": "a",
        "parent_collection": "works",
        "parent_id": "w",
        "revision": "r",
        "source_version": "5",
        "title": "Feet, two",
        "year": "1900",
        "tags": '["x"]',
        "mixed": "1",
        "fields.id": "",
        "palette.vector_b64": "",
        "palette.colour": "#aa3311",
        "palette.bright": "true",
        "palette.more": '{"bins":[1,2]}',
        "palette.@version": "v1",
        "palette.@model": "",
        "palette.@input": "i1",
        "codes.tokens": '["0-1","1-7"]',
        "codes.code": "01ff",
        "codes.size": "3",
        "codes.ratio": "0.5",
        "codes.@version": "v2",
        "codes.@model": "m2",
        "codes.@input": "",
        "free": "[1,2]",
        "free.@version": "",
        "free.@model": "",
        "free.@input": "",
    }
    assert np.array_equal(np.frombuffer(base64.b64decode(full["palette.vector_b64"]), dtype="<f4"), VECTOR)
    assert {name: cell for name, cell in bare.items() if cell} == {"id": "b", "fields.id": "own", "mixed": '"text"'}


@pytest.mark.parametrize("text", ["=1+1", "+44 20 7611", "-x", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_inert(tmp_path: Path, text: str) -> None:
    """Text that a spreadsheet would run gets an apostrophe, in cells and in the header, unless asked not to."""
    # given
    rows = [ExportRow(record=RecordIn(collection="c", id="a", fields={"note": text, text: "x"}))]

    # when
    with exported(tmp_path / "safe.csv", rows).open(newline="") as file:
        safe = list(csv.reader(file))
    with exported(tmp_path / "raw.csv", rows, formulas=True).open(newline="") as file:
        raw = list(csv.reader(file))

    # then
    assert not [cell for row in safe for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert f"'{text}" in safe[0]
    assert f"'{text}" in safe[1]
    assert text in raw[0]
    assert text in raw[1]


@pytest.mark.parametrize("text", ["-5", "+3.2", "-1e9"])
def test_negative_numbers_are_numbers(tmp_path: Path, text: str) -> None:
    """Text that is a plain number is no formula."""
    rows = [ExportRow(record=RecordIn(collection="c", id="a", fields={"note": text}))]
    assert f",{text}," in exported(tmp_path / "out.csv", rows).read_text()


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(texts=st.lists(CELLS, min_size=1, max_size=8))
def test_csv_is_read_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Every text field that is not empty comes back from CSV as it was, where formulas are left alone."""
    # given
    rows = [
        ExportRow(record=RecordIn(collection="c", id=f"r{n}", fields={"t": text, "end": "."}))
        for n, text in enumerate(texts)
    ]
    path = tmp_path_factory.mktemp("csv") / "out.csv"
    layout = survey(rows, outputs={})

    # when
    export([rows], to=connect_sink(path, formulas=True), layout=layout)
    again = [item for page in connect_source(path, collection="c").read() for item in page]

    # then
    assert again == [row.record for row in rows]


def test_parquet_types(tmp_path: Path) -> None:
    """Columns have the types of their outputs; vectors are lists of float32; absent values are null."""
    # when
    table = pq.read_table(exported(tmp_path / "out.parquet", [FULL, BARE]))

    # then
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert types["palette.vector"] == "list<element: float>"
    assert [types[f"codes.{name}"] for name in ("tokens", "code", "size", "ratio")] == [
        "list<element: string>",
        "binary",
        "int64",
        "double",
    ]
    assert (types["palette.bright"], types["year"], types["source_version"]) == ("bool", "int64", "int64")
    full, bare = table.to_pylist()
    assert full["palette.vector"] == VECTOR.tolist()
    assert (full["codes.code"], full["codes.@model"], full["palette.@input"]) == (b"\x01\xff", "m2", "i1")
    assert {name for name, cell in bare.items() if cell is not None} == {"id", "fields.id", "mixed"}


NUMBERS = st.integers(-(2**63), 2**63 - 1)
FIELDS = {
    "text": st.text(st.characters(exclude_categories=["Cs"])),
    "whole": NUMBERS,
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "flag": st.booleans(),
    "any": st.lists(st.integers(0, 9) | st.text("ab")) | NUMBERS | st.dictionaries(st.text("xy"), st.none()),
}


@given(several=st.lists(st.fixed_dictionaries({}, optional=FIELDS), min_size=1, max_size=6))
def test_parquet_is_read_back(tmp_path_factory: pytest.TempPathFactory, several: list[dict[str, object]]) -> None:
    """Fields of every kind come back from Parquet as they were, nested ones included."""
    # given
    rows = [
        ExportRow(record=RecordIn(collection="c", id=f"r{n}", fields=fields, source_version=n, parent=("p", "q")))
        for n, fields in enumerate(several)
    ]
    path = tmp_path_factory.mktemp("parquet") / "out.parquet"

    # when
    export([rows], to=connect_sink(path), layout=survey(rows, outputs={}))
    again = [item for page in connect_source(path, collection="c").read() for item in page]

    # then
    assert again == [row.record for row in rows]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.jsonl.gz", "out.parquet"])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    """An export that fails half way leaves the file of the last one as it was, and nothing else."""
    # given
    path = exported(tmp_path / name, [FULL])
    before = path.read_bytes()

    # when
    with connect_sink(path) as sink:
        sink.open(survey([FULL, BARE], outputs=OUTPUTS))
        sink.write([BARE])

    # then
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_field_that_came_in_between(tmp_path: Path, name: str) -> None:
    """A table refuses a row with a field or a stage that its layout lacks, rather than losing it."""
    sink = connect_sink(tmp_path / name)
    with pytest.raises(UsageError, match="b gained id, mixed during the export"):
        export([[BARE]], to=sink, layout=Layout())
    assert list(tmp_path.iterdir()) == []


def test_a_field_that_changed_its_kind(tmp_path: Path) -> None:
    """A Parquet column refuses a value of another kind than announced, with a sentence."""
    layout = survey([ExportRow(record=RecordIn(collection="c", id="a", fields={"n": 1}))], outputs={})
    row = ExportRow(record=RecordIn(collection="c", id="a", fields={"n": "one"}))
    with pytest.raises(UsageError, match="n holds what is no whole"):
        export([[row]], to=connect_sink(tmp_path / "out.parquet"), layout=layout)


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("out.xls", r"known are: \.csv"),
        ("out.csv.gz", r"known are: \.csv"),
        ("opensearch://host/index", "Nothing exports to"),
    ],
)
def test_no_such_sink(to: str, sentence: str) -> None:
    """What cannot be written is refused with a sentence that says what can."""
    with pytest.raises(UsageError, match=sentence):
        connect_sink(to)
