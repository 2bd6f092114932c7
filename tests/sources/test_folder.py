"""Folders and lists of addresses."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from limner.domain.records import RecordIn
from limner.errors import UsageError
from limner.sources.base import MAX_ID
from limner.sources.connect import connect_source
from tests.sources.helpers import taken, written


def test_files_sorted_by_path(tmp_path: Path) -> None:
    """Every picture below the folder is a record under its path, in the order of whole paths; others are not."""
    # given
    for path in ["b.jpg", "a/z.PNG", "a-b/x.jpg", "a.jpg", "a/n/ö #%.jpg", ".hidden.jpg", ".git/x.jpg", "notes.md"]:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"picture")

    # when
    records, aside = taken(tmp_path)

    # then
    assert [record.id for record in records] == ["a-b/x.jpg", "a.jpg", "a/n/ö #%.jpg", "a/z.PNG", "b.jpg"]
    assert aside == []
    url = urlsplit(records[2].fields["image_url"])
    assert url.scheme == "file"
    assert Path(url2pathname(url.path)) == tmp_path / "a/n/ö #%.jpg"
    assert (url.fragment, url.query) == ("", "")


def test_fields_and_revision(tmp_path: Path) -> None:
    """A title is made of the name, a side file adds fields, and changed bytes change the revision."""
    # given
    file = written(tmp_path, "left_foot  plate.jpg", b"one")
    written(tmp_path, "left_foot  plate.json", '{"licence": "pdm", "parent_id": "w1", "parent_collection": "works"}')
    (before,), _ = taken(tmp_path)

    # when
    file.write_bytes(b"another")
    (after,), _ = taken(tmp_path)

    # then
    assert before.fields == {
        "path": "left_foot  plate.jpg",
        "image_url": file.as_uri(),
        "title": "left foot plate",
        "licence": "pdm",
    }
    assert before.parent == ("works", "w1")
    assert re.fullmatch(r"\d+-3", before.revision or "")
    assert re.fullmatch(r"\d+-7", after.revision or "")


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    """Broken links, names that are no text and bad side files are set aside by path; the rest is taken."""
    # given
    written(tmp_path, "good.jpg", b"x")
    written(tmp_path, "side.jpg", b"x")
    written(tmp_path, "side.json", "[]")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin\xe9.jpg")).write_bytes(b"x")

    # when
    records, aside = taken(tmp_path)

    # then
    assert [record.id for record in records] == ["good.jpg"]
    assert {item.row: item.reason.split(":")[0] for item in aside} == {
        "gone.jpg": "It cannot be looked at",
        "latin\\udce9.jpg": "Its name is not UTF-8.",
        "side.jpg": "Its side file side.json is no JSON object",
    }


def test_patterns_and_address_field(tmp_path: Path) -> None:
    """Any file can be asked for, and the address stands in the field that the pipeline reads."""
    # given
    file = written(tmp_path, "Report.PDF", b"%PDF")

    # when
    source = connect_source(tmp_path, collection="policies", patterns=["*.pdf"], address_field="pdf_url")
    ((record,),) = source.read()

    # then
    assert isinstance(record, RecordIn)
    assert (record.id, record.fields["pdf_url"]) == ("Report.PDF", file.as_uri())
    assert list(source.ids()) == ["Report.PDF"]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("nowhere", "There is no"),
        ("", "No file below"),
        ("x.docx", r"known are: \.csv"),
        ("empty.jsonl", "is empty"),
        ("https://example.org/x.jpg", "is an address"),
    ],
)
def test_no_such_source(tmp_path: Path, spec: str, sentence: str) -> None:
    """What cannot be a source is refused with a sentence that says what can."""
    # given
    written(tmp_path, "x.docx", b"PK")
    written(tmp_path, "empty.jsonl", b"")

    # when, then
    with pytest.raises(UsageError, match=sentence):
        connect_source(spec if "://" in spec else tmp_path / spec, collection="images")


def test_shapes_are_json(tmp_path: Path) -> None:
    """An unknown shape names the known ones; a shape over a CSV file is refused."""
    file = written(tmp_path, "t.csv", "id\na\n")
    with pytest.raises(UsageError, match="There is no shape round"):
        connect_source(file, collection="images", shape="round")


def test_a_list_of_addresses(tmp_path: Path) -> None:
    """Each absolute URL is a record under itself; what is none is set aside."""
    # given
    long = "https://pictures.example/" + "x" * MAX_ID
    lines = ["# ours", "https://pictures.example/a%20b.jpg?size=2", "", "not an address", long, "ftp://x/y"]
    file = written(tmp_path, "list.txt", "\n".join(lines))

    # when
    records, aside = taken(file)

    # then
    url = "https://pictures.example/a%20b.jpg?size=2"
    assert records[0] == RecordIn(collection="images", id=url, fields={"image_url": url, "title": "a b.jpg"})
    assert records[1].id.startswith("sha256:")
    assert records[1].fields["image_url"] == long
    assert [item.row for item in aside] == [4, 6]
