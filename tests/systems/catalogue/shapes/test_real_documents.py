"""The catalogue's own documents, against the catalogue's own mappings."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from limner.domain.records import RecordIn
from limner.sources.connect import connect_source
from limner.systems.catalogue.shapes import SHAPES
from tests.systems.catalogue.shapes.documents import Document, complaints, row_of

pytestmark = pytest.mark.real_data
NOT_INFERRED: Document = {"features": [], "paletteEmbedding": []}


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    """The catalogue's part of the real data."""
    return shared_data / "catalogue"


@pytest.fixture(scope="module")
def mapping(folder: Path) -> Document:
    """The strict mapping of the index of images."""
    (file,) = (folder / "mappings").glob("mappings.images_indexed.*.json")
    mapping: Document = msgspec.json.decode(file.read_bytes())
    return mapping


def read(file: Path, shape: str) -> list[RecordIn]:
    """Every record of *file*; nothing is set aside."""
    source = connect_source(file, collection="images", shape=shape, shapes=SHAPES)
    items = [item for page in source.read() for item in page]
    records = [item for item in items if isinstance(item, RecordIn)]
    assert records == items
    return records


@pytest.mark.parametrize("name", ["real_images.jsonl", "api_documents.jsonl"])
def test_indexed_images_lose_nothing(folder: Path, mapping: Document, name: str) -> None:
    """Each document leaves equal, with its lists of vectors empty where it brought none, and fits the mapping."""
    # given
    documents = [msgspec.json.decode(line)["document"] for line in (folder / name).read_bytes().splitlines()]

    # when
    records = {record.id: record for record in read(folder / name, "indexed")}

    # then
    assert documents
    for document in documents:
        image = records[document["query"]["id"]]
        assert image.parent is not None
        written = SHAPES["indexed"].write(row_of([records[image.parent[1]], image]))
        assert written == document | {"vectorValues": NOT_INFERRED}
        assert list(complaints(written, mapping)) == []


def test_an_augmented_image(folder: Path, mapping: Document) -> None:
    """The augmented image leaves equal; as an indexed one it fits the strict mapping but for its short vectors."""
    # given
    file = folder / "single_augmented_image.json"
    document: Any = msgspec.json.decode(file.read_bytes())

    # when
    row = row_of(read(file, "augmented"))
    indexed = SHAPES["indexed"].write(row)

    # then
    assert SHAPES["augmented"].write(row) == document
    assert list(complaints(indexed, mapping)) == [
        "vectorValues.features has 3 numbers",
        "vectorValues.paletteEmbedding has 3 numbers",
    ]
    assert indexed["query"]["source"]["contributors.agent.label"] == ["Gamelin, Jacques, 1739-1803"]
    assert row.record.fields["image_url"] == document["locations"][0]["url"]


def test_nothing_inferred(folder: Path, mapping: Document) -> None:
    """The document without inferred data gets no ratio of 1 and no white; all else of it stays."""
    # given
    file = folder / "images.inferred-data.none.json"
    document = msgspec.json.decode(file.read_bytes())["document"]

    # when
    row = row_of(read(file, "indexed"))
    written = SHAPES["indexed"].write(row)

    # then
    assert "given" not in row.record.fields
    assert row.parent_fields["title"] == document["display"]["source"]["title"]
    assert {"aspectRatio": 1.0, "averageColor": "#ffffff"}.items() <= document["display"].items()
    del document["display"]["aspectRatio"], document["display"]["averageColor"]
    assert written == document
    assert list(complaints(written, mapping)) == []
