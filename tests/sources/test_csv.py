"""CSV as it is found: one bad row costs one row."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import UsageError
from tests.sources.helpers import taken, written


def test_a_plain_table(tmp_path: Path) -> None:
    """Cells are text, empty ones are no value; BOM, CRLF, quotes, line breaks and blank lines are no trouble."""
    # given
    text = '\ufeffid,title,licence\r\na,"Feet, two\r\nof them",pdm\r\n\r\nb,"say ""hi""",\r\nc,5" disk,007'
    file = written(tmp_path, "t.csv", text)

    # when
    records, aside = taken(file)

    # then
    assert [(record.id, record.fields) for record in records] == [
        ("a", {"title": "Feet, two\r\nof them", "licence": "pdm"}),
        ("b", {"title": 'say "hi"'}),
        ("c", {"title": '5" disk', "licence": "007"}),
    ]
    assert aside == []


def test_bad_rows_spare_their_neighbours(tmp_path: Path) -> None:
    """Ragged rows, NUL, bytes that are no UTF-8, missing ids: set aside by line number; the rest is taken."""
    # given
    rows = [b"id,title", b"a,x", b"b", b"c,x,y", b"d,\x00", b"e,\xff\xfe", b",nameless", b"f,caf\xc3\xa9", b"a,again"]
    file = written(tmp_path, "t.csv", b"\n".join(rows))

    # when
    records, aside = taken(file)

    # then
    assert [record.id for record in records] == ["a", "f"]
    assert [item.row for item in aside] == [3, 4, 5, 6, 7, 9]
    words = ["1 cells", "3 cells", "NUL", "UTF-8", "no id", "Rows 2 and 9"]
    assert [word for word, item in zip(words, aside, strict=True) if word not in item.reason] == []


def test_a_quote_left_open_costs_one_row(tmp_path: Path) -> None:
    """A quote that is never closed gives up its own line, and the lines below it are read again."""
    # given
    rows = ["id,title", "a,x"] + ['b,"never closed'] + [f"c{n},x" for n in range(5_000)] + ['d,"two', 'lines"', "e,y"]
    file = written(tmp_path, "t.csv", "\n".join(rows))

    # when
    records, aside = taken(file)

    # then
    assert len(records) == 1 + 5_000 + 2
    assert records[-2].fields == {"title": "two\nlines"}
    assert [(item.row, item.excerpt) for item in aside] == [(3, 'b,"never closed')]


def test_two_open_quotes_do_not_pair_up(tmp_path: Path) -> None:
    """Two stray quotes that swallow what lies between them are found out by the ragged row that this makes."""
    # given
    rows = ["id,title,year", 'a,"stray,1900', "b,x,1901", 'c,"stray,1902', "d,x,1903"]
    file = written(tmp_path, "t.csv", "\n".join(rows))

    # when
    records, aside = taken(file)

    # then
    assert [record.id for record in records] == ["b", "d"]
    assert [item.row for item in aside] == [2, 4]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("name,title\nx,y\n", "has no column id; it has: name, title"),
        ("id;title\nx;y\n", "separated by ';'"),
        ("id,title,title\nx,y,z\n", "different names"),
        ('id,"title\nx,y\n', "no readable header"),
        ("\ufeffid,title\n".encode("utf-16"), "UTF-16"),
        ("", "is empty"),
    ],
)
def test_a_table_without_usable_header(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    """A header that cannot be used is the user's to mend, with a sentence that says how."""
    with pytest.raises(UsageError, match=sentence):
        taken(written(tmp_path, "t.csv", content))


def test_tabs(tmp_path: Path) -> None:
    """A TSV file is separated by tabs."""
    records, _ = taken(written(tmp_path, "t.tsv", "id\ttitle\na\tx, y\n"))
    assert records[0].fields == {"title": "x, y"}


@given(
    cells=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='\n\t",')), min_size=1, max_size=30
    )
)
def test_what_the_standard_library_writes(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    """Every table that Python's csv module writes is read back, cell by cell."""
    # given
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["id", "text"])
    writer.writerows((f"r{n}", cell) for n, cell in enumerate(cells))
    file = written(tmp_path_factory.mktemp("csv"), "t.csv", stream.getvalue())

    # when
    records, aside = taken(file)

    # then
    assert aside == []
    assert [record.fields.get("text", "") for record in records] == cells


@given(content=st.binary(max_size=300))
def test_any_bytes_below_a_header(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever stands below the header, good rows after it are taken and nothing raises."""
    # given
    file = written(tmp_path_factory.mktemp("csv"), "t.csv", b"id,title\nfirst,x\n" + content + b"\n\nlast,y\n")

    # when
    records, aside = taken(file)

    # then
    assert records[0].id == "first"
    assert "last" in {record.id for record in records} | {item.excerpt.split(",")[0] for item in aside} or (
        content.count(b'"') > 0
    )
