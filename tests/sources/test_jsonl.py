"""JSON Lines and JSON files: what becomes a record, what is set aside, and why."""

import gzip
import io
from pathlib import Path

import msgspec
import pytest

from limner.domain.failures import FailureCode
from limner.domain.records import RecordIn
from limner.errors import UsageError
from limner.sources.base import Columns
from limner.sources.connect import connect_source
from tests.sources.helpers import taken, written


def test_fields_ids_parents_versions(tmp_path: Path) -> None:
    """Id, parent, revision and version become properties of the record, nested JSON stays as it is."""
    # given
    row = {
        "id": "a",
        "title": None,
        "nested": {"list": [1, {"deep": "x"}]},
        "parent_id": 7,
        "parent_collection": "works",
        "revision": "r1",
        "modifiedTime": "2025-04-01T10:00:00Z",
    }
    file = written(tmp_path, "records.jsonl", msgspec.json.encode(row) + b"\r\n\n")

    # when
    records, aside = taken(file)

    # then
    fields = {"title": None, "nested": {"list": [1, {"deep": "x"}]}, "modifiedTime": "2025-04-01T10:00:00Z"}
    assert records == [
        RecordIn(
            collection="images",
            id="a",
            fields=fields,
            revision="r1",
            source_version=1_743_501_600_000,
            parent=("works", "7"),
        )
    ]
    assert aside == []


def test_bad_lines_spare_their_neighbours(tmp_path: Path) -> None:
    """Every line that is no record is set aside with its number and why; the others are taken."""
    # given
    lines = [
        b'\xef\xbb\xbf{"id": "first"}',
        b"{broken",
        b"[1, 2]",
        b'{"title": "no id"}',
        b'{"id": true}',
        b'{"id": "x", "modifiedTime": "yesterday"}',
        b'{"id": "nul\\u0000"}',
        b'{"id": "byte \xff"}',
        b'{"id": "raw \x00 nul"}',
        b'{"id": "big", "n": 123456789012345678901234567890}',
        b"[" * 100_000,
        b'{"id": "orphan", "parent_id": "w"}',
        b'{"id": "' + b"x" * 2_000 + b'"}',
        b'{"id": "last"}',
    ]
    file = written(tmp_path, "records.ndjson", b"\n".join(lines))

    # when
    records, aside = taken(file)

    # then
    assert [record.id for record in records] == ["first", "last"]
    assert [item.row for item in aside] == list(range(2, 14))
    assert {item.code for item in aside} == {FailureCode.INPUT_INVALID}
    words = ["no JSON", "no object", "no id", "bool", "yesterday", "control", "no JSON", "no JSON", "stored"]
    words += ["no JSON", "collection", "longer"]
    assert [word for word, item in zip(words, aside, strict=True) if word not in item.reason] == []
    assert aside[0].excerpt == "{broken"
    assert all(len(item.excerpt) <= 200 and item.excerpt.isprintable() for item in aside)


def test_repeated_ids_name_both_rows(tmp_path: Path) -> None:
    """A second row of one id and version is set aside with both numbers; another version is another record."""
    # given
    lines = ['{"id": "a", "version": 1}', '{"id": "b"}', '{"id": "a", "version": 1}', '{"id": "a", "version": 2}']
    file = written(tmp_path, "records.jsonl", "\n".join(lines))

    # when
    records, aside = taken(file)

    # then
    assert [(record.id, record.source_version) for record in records] == [("a", 1), ("b", None), ("a", 2)]
    assert [(item.row, "Rows 1 and 3" in item.reason) for item in aside] == [(3, True)]


def test_a_page_holds_an_id_once(tmp_path: Path) -> None:
    """Two versions of one id come in two pages, so that a page can be written in one statement."""
    # given
    lines = ['{"id": "a", "version": 1}', '{"id": "b"}', '{"id": "a", "version": 2}']
    source = connect_source(written(tmp_path, "r.jsonl", "\n".join(lines)), collection="images")

    # when
    pages = list(source.read(page=100))

    # then
    assert [[item.id for item in page if isinstance(item, RecordIn)] for page in pages] == [["a", "b"], ["a"]]


def test_pages_repeat_themselves(tmp_path: Path) -> None:
    """The same file and page size give the same pages, of the size asked for."""
    # given
    lines = [f'{{"id": "{n}"}}' if n % 7 else "oops" for n in range(1, 101)]
    source = connect_source(written(tmp_path, "r.jsonl", "\n".join(lines)), collection="images")

    # when
    once, again = list(source.read(page=30)), list(source.read(page=30))

    # then
    assert [len(page) for page in once] == [30, 30, 30, 10]
    assert once == again
    assert len(list(source.ids())) == 86


def test_standard_input_is_read_once() -> None:
    """Records come from a stream as well, which cannot be listed for an audit."""
    # given
    source = connect_source("-", collection="images", standard_input=io.BytesIO(b'{"id": 5}\n'))

    # when
    pages = list(source.read())

    # then
    assert pages == [[RecordIn(collection="images", id="5", fields={})]]
    with pytest.raises(UsageError, match="standard input can be read only once"):
        source.ids()


def test_a_packed_file_that_breaks_off(tmp_path: Path) -> None:
    """A gzip file is unpacked on the way; one cut short says so after what came before the cut."""
    # given
    packed = gzip.compress("".join(f'{{"id": "{n}", "text": "{n * 7919}"}}\n' for n in range(5_000)).encode())
    whole = written(tmp_path, "whole.jsonl.gz", packed)
    cut = written(tmp_path, "cut.jsonl.gz", packed[: len(packed) // 2])

    # when
    records, _ = taken(whole)
    pages = connect_source(cut, collection="images").read(page=10)

    # then
    assert len(records) == 5_000
    assert len(next(pages)) == 10
    with pytest.raises(UsageError, match="cannot be read to its end"):
        list(pages)


def test_a_json_file_is_an_object_or_a_list(tmp_path: Path) -> None:
    """A JSON file over several lines holds one record, or a list of them counted from 1."""
    # given
    single = written(tmp_path, "one.json", '{\n  "id": "a"\n}\n')
    several = written(tmp_path, "some.json", '[{"id": "a"}, 3, {"id": "b"}]')

    # when
    one, _ = taken(single)
    some, aside = taken(several)

    # then
    assert [record.id for record in one] == ["a"]
    assert [record.id for record in some] == ["a", "b"]
    assert [item.row for item in aside] == [2]
    with pytest.raises(UsageError, match="is no JSON"):
        taken(written(tmp_path, "bad.json", "{"))


def test_columns_can_be_named(tmp_path: Path) -> None:
    """Id, parent and version may stand in columns of any name."""
    # given
    columns = Columns(id="key", parent="work", parent_collection="works", version="stamp")
    file = written(tmp_path, "r.jsonl", '{"key": "k", "work": "w", "stamp": 3, "id": "a field now", "version": 9}')

    # when
    (record,), _ = taken(file, columns=columns)

    # then
    assert (record.id, record.parent, record.source_version) == ("k", ("works", "w"), 3)
    assert record.fields == {"stamp": 3, "id": "a field now", "version": 9}


def test_a_parent_by_its_id_alone(tmp_path: Path) -> None:
    """A column ``parent`` may hold the id alone where the parents' collection is known; other objects stay fields."""
    # given
    lines = ['{"id": "a", "parent": "w"}', '{"id": "b", "parent": {"name": "x"}}', '{"id": "c", "parent": null}']
    file = written(tmp_path, "r.jsonl", "\n".join(lines))

    # when
    records, aside = taken(file, columns=Columns(parent_collection="works"))

    # then
    assert [(record.parent, record.fields) for record in records] == [
        (("works", "w"), {}),
        (None, {"parent": {"name": "x"}}),
        (None, {}),
    ]
    assert aside == []


def test_an_edition_is_no_version(tmp_path: Path) -> None:
    """A column ``version`` that holds words orders nothing and stays a field."""
    # given
    file = written(tmp_path, "r.jsonl", '{"id": "a", "version": "second edition"}')

    # when
    (record,), aside = taken(file)

    # then
    assert (record.source_version, record.fields, aside) == (None, {"version": "second edition"}, [])
