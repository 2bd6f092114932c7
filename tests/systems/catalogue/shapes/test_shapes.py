"""Initial, augmented and indexed images, in and out."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.domain.records import ExportRow, NotARecord, RecordIn, SetAside
from limner.domain.values import Value, plain
from limner.sinks.base import export
from limner.sinks.connect import connect_sink
from limner.sinks.layout import Layout
from limner.sources.connect import connect_source
from limner.systems.catalogue.shapes import SHAPES
from tests.systems.catalogue.shapes.documents import Document, augmented, row_of

MODIFIED = 1_743_501_600_000


def read(document: Document, shape: str = "augmented") -> list[RecordIn]:
    """The work and the image of *document*."""
    return SHAPES[shape].read(document, "images")


def test_an_augmented_image_is_a_work_and_an_image() -> None:
    """Ids, parent, address, licence, version and given values stand where pipelines read them."""
    # when
    work, image = read(augmented())

    # then
    assert (work.collection, work.id, work.source_version) == ("works", "wrk1", MODIFIED)
    assert (image.collection, image.id, image.source_version) == ("images", "img1", MODIFIED)
    assert image.parent == ("works", "wrk1")
    assert image.fields["image_url"] == "https://iiif.example/image/1/info.json"
    assert (image.fields["licence"], image.fields["version"]) == ("pdm", 3)
    assert image.fields["given"] == {
        "features": {"vector": [0.6, 0.8]},
        "palette": {"vector": [1.0, 0.0, 0.0], "average_color_hex": "#a1b2c3"},
        "aspect_ratio": {"value": 1.5},
    }
    assert "title" not in image.fields


def test_the_words_of_a_work() -> None:
    """What the index searches and filters stands flat in the work, in the order of the catalogue, dates in ms."""
    # when
    work, _ = read(augmented())

    # then
    words = {name: value for name, value in work.fields.items() if name != "source"}
    assert words == {
        "title": "A book of feet",
        "lettering": "Foot; hand",
        "alternative_titles": ["Feet, a book"],
        "contributors": ["Plate, Ada, 1700-1750", "Nobody"],
        "genres": ["Etching"],
        "subjects": ["Foot", "Feet"],
        "languages": ["Latin"],
        "notes": ["Torn."],
        "production": ["Ghent", "1098", "who knows"],
        "production_dates": [-27_517_622_400_000],
        "identifiers": ["wrk1", "S 1", "old-1", "other-1"],
        "source_identifier": "S 1",
        "part_of": [],
        "items": {"id": ["itm1"], "identifiers": ["i1"], "shelfmarks": ["EPB 1"]},
        "images": {"id": ["img1"], "identifiers": ["P1"]},
    }


def without(document: Document, *path: str) -> Document:
    """*document* without what stands at *path*."""
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    holder.pop(path[-1])
    return document


INITIAL = without(without(augmented(), "state", "inferredData"), "state", "augmentedTime")


@pytest.mark.parametrize(
    ("shape", "document"),
    [
        ("augmented", augmented()),
        ("augmented", without(augmented(), "locations")),
        ("augmented", without(augmented(), "state", "inferredData", "averageColorHex")),
        ("augmented", augmented() | {"deletedReason": {"type": "X"}, "empty": {}}),
        ("initial", INITIAL),
    ],
)
def test_a_round_trip_loses_no_field(shape: str, document: Document) -> None:
    """What came as an initial or augmented image leaves equal, fields unknown to us included."""
    before = msgspec.json.encode(document)
    assert SHAPES[shape].write(row_of(read(document, shape))) == document
    assert msgspec.json.encode(document) == before


def test_indexed_from_augmented() -> None:
    """An augmented image leaves as an indexed one with display, query, facets, filters and vectors."""
    # when
    document = SHAPES["indexed"].write(row_of(read(augmented())))

    # then
    assert document["vectorValues"] == {"features": [0.6, 0.8], "paletteEmbedding": [1.0, 0.0, 0.0]}
    assert document["modifiedTime"] == "2025-04-01T10:00:00Z"
    assert document["query"]["id"] == "img1"
    assert document["query"]["source"]["contributors.agent.label"] == ["Plate, Ada, 1700-1750", "Nobody"]
    assert document["query"]["source"]["partOf.title"] == []
    assert document["aggregatableValues"] == {
        "locations.license": [
            {"id": "cc-by", "label": "Attribution 4.0 International (CC BY 4.0)"},
            {"id": "pdm", "label": "Public Domain Mark"},
        ],
        "source.contributors.agent": [
            {"id": "cada", "label": "Plate, Ada, 1700-1750"},
            {"id": "Nobody", "label": "Nobody"},
        ],
        "source.genres": [{"id": "cetch", "label": "Etching"}],
        "source.subjects": [{"id": "cfoot", "label": "Foot"}],
    }
    assert document["filterableValues"]["source.subjects.concepts.sourceIdentifier"] == ["src-cfoot"]
    assert document["filterableValues"]["source.production.dates.range.from"] == [-27_517_622_400_000]
    display = document["display"]
    assert (display["id"], display["aspectRatio"], display["averageColor"]) == ("img1", 1.5, "#a1b2c3")
    assert display["thumbnail"] == display["locations"][1]
    assert display["thumbnail"] == {
        "locationType": {"id": "iiif-image", "label": "IIIF Image API", "type": "LocationType"},
        "url": "https://iiif.example/image/1/info.json",
        "credit": "The library",
        "license": {
            "id": "pdm",
            "label": "Public Domain Mark",
            "type": "License",
            "url": "https://creativecommons.org/share-your-work/public-domain/pdm/",
        },
        "accessConditions": [
            {
                "method": {"id": "view-online", "label": "View online", "type": "AccessMethod"},
                "status": {"id": "open-with-advisory", "label": "Open with advisory", "type": "AccessStatus"},
                "type": "AccessCondition",
            }
        ],
        "type": "DigitalLocation",
    }
    assert display["source"]["title"] == "A book of feet"
    assert display["source"]["genres"] == [
        {"label": "Etching", "concepts": [{"id": "cetch", "label": "Etching.", "type": "Genre"}], "type": "Genre"}
    ]


def test_indexed_comes_back_as_it_left() -> None:
    """An indexed image that is read and written again is equal, in an envelope too."""
    # given
    document = SHAPES["indexed"].write(row_of(read(augmented()))) | {"debug": {"indexedTime": "2025-05-01T00:00:00Z"}}

    # when
    again = SHAPES["indexed"].write(row_of(read(document, "indexed")))
    opened = read({"id": "img1", "document": document}, "indexed")

    # then
    assert again == document
    assert opened == read(document, "indexed")


def test_indexed_and_augmented_say_the_same() -> None:
    """The fields that pipelines read are the same, whichever of the two forms an image came in."""
    # given
    work, image = read(augmented())
    document = SHAPES["indexed"].write(row_of([work, image]))

    # when
    other_work, other_image = read(document, "indexed")

    # then
    assert {name: work.fields[name] for name in work.fields if name != "source"}.items() <= other_work.fields.items()
    for name in ("image_url", "licence", "given", "modifiedTime"):
        assert other_image.fields[name] == image.fields[name]
    assert (other_image.parent, other_image.source_version) == (image.parent, image.source_version)


def test_absent_stays_absent() -> None:
    """Nothing is invented for an image without inferred values, and fillers of other systems are not taken over."""
    # given
    bare = SHAPES["indexed"].write(row_of(read(INITIAL, "initial")))
    filled = msgspec.json.decode(msgspec.json.encode(bare))
    filled["display"] |= {"aspectRatio": 1.0, "averageColor": "#ffffff"}

    # when
    _, image = read(filled, "indexed")

    # then
    assert "given" not in image.fields
    assert SHAPES["indexed"].write(row_of(read(filled, "indexed"))) == bare
    assert bare["vectorValues"] == {"features": [], "paletteEmbedding": []}
    assert not {"aspectRatio", "averageColor"} & set(bare["display"])


def test_a_square_white_picture_is_no_filler() -> None:
    """A ratio of 1 and white beside vectors were inferred."""
    # given
    document = augmented()
    document["state"]["inferredData"] |= {"aspectRatio": 1.0, "averageColorHex": "#ffffff"}
    indexed = SHAPES["indexed"].write(row_of(read(document)))

    # when
    _, image = read(indexed, "indexed")

    # then
    assert image.fields["given"]["aspect_ratio"] == {"value": 1.0}
    assert image.fields["given"]["palette"]["average_color_hex"] == "#ffffff"


def test_results_replace_what_was_given() -> None:
    """Where a stage has a result, the export holds results only and never mixes them with what came along."""
    # given
    values = {"features": {"vector": np.array([1.0, 0.0], dtype=np.float32)}}

    # when
    document = SHAPES["augmented"].write(row_of(read(augmented()), values=values))

    # then
    assert plain(document)["state"]["inferredData"] == {"features": [1.0, 0.0]}


def test_no_picture_address() -> None:
    """An image without a place on the image server has no address; its licence is that of another place."""
    # given
    document = augmented()
    del document["locations"][1]

    # when
    _, image = read(document)

    # then
    assert "image_url" not in image.fields
    assert image.fields["licence"] == "cc-by"


def test_an_image_from_a_folder_leaves_as_indexed() -> None:
    """An image of plain fields has an indexed form as well: its own words, its address, no invented value."""
    # given
    fields = {"title": "Left foot", "contributors": ["Ada"], "image_url": "file:///a.jpg", "licence": "cc-0"}
    row = ExportRow(record=RecordIn(collection="images", id="a.jpg", fields=fields))

    # when
    document = SHAPES["indexed"].write(row)

    # then
    assert document["query"]["source"]["title"] == "Left foot"
    assert document["aggregatableValues"]["source.contributors.agent"] == [{"id": "Ada", "label": "Ada"}]
    assert document["display"]["thumbnail"]["url"] == "file:///a.jpg"
    assert document["display"]["source"]["contributors"][0]["agent"] == {"label": "Ada", "type": "Agent"}
    assert document["filterableValues"]["locations.license.id"] == ["cc-0"]
    with pytest.raises(NotARecord, match="--shape indexed"):
        SHAPES["augmented"].write(row)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"state": {"canonicalId": 5}}, "state.canonicalId"),
        ({"state": None}, "state.canonicalId"),
        ({"source": {"id": {}}}, "source.id.canonicalId"),
        ({"locations": "nowhere"}, "locations is no list"),
        ({"locations": [{"url": 3, "locationType": {"id": "iiif-image"}}]}, "no text"),
        ({"modifiedTime": "yesterday"}, "modifiedTime"),
        ({"state": {"canonicalId": "a", "inferredData": {"features": ["x"]}}}, "inferredData.features"),
        ({"state": {"canonicalId": "a", "inferredData": {"aspectRatio": "wide"}}}, "inferredData.aspectRatio"),
        ({"state": {"canonicalId": "a", "inferredData": {"averageColorHex": 1}}}, "inferredData.averageColorHex"),
    ],
)
def test_documents_that_are_none(tmp_path: Path, change: Document, word: str) -> None:
    """A line of the wrong form is set aside with the place that is wrong, and its neighbours are taken."""
    # given
    file = tmp_path / "images.jsonl"
    file.write_bytes(msgspec.json.encode(augmented() | change) + b"\n" + msgspec.json.encode(augmented()))

    # when
    source = connect_source(file, collection="images", shape="augmented", shapes=SHAPES)
    aside, work, image = next(source.read())

    # then
    assert isinstance(aside, SetAside)
    assert (aside.row, word in aside.reason) == (1, True)
    assert [record.id for record in (work, image) if isinstance(record, RecordIn)] == ["wrk1", "img1"]


def test_a_work_comes_once_a_page(tmp_path: Path) -> None:
    """Images of one work bring it along once, in its newest form, before them."""
    # given
    older, newer = augmented(identifier="i1"), augmented(identifier="i2") | {"modifiedTime": "2026-01-01T00:00:00Z"}
    newer["source"]["data"]["title"] = "A newer book of feet"
    file = tmp_path / "images.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(document) for document in (newer, older)))

    # when
    (page,) = connect_source(file, collection="images", shape="augmented", shapes=SHAPES).read()

    # then
    assert [item.id for item in page if isinstance(item, RecordIn)] == ["wrk1", "i2", "i1"]
    assert isinstance(page[0], RecordIn)
    assert page[0].fields["title"] == "A newer book of feet"


def test_a_file_goes_in_and_out(tmp_path: Path) -> None:
    """A file of augmented images is read and exported to an equal file."""
    # given
    documents = [augmented(identifier=f"i{n}", work=f"w{n}") for n in range(3)]
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(document) for document in documents))

    # when
    (page,) = connect_source(file, collection="images", shape="augmented", shapes=SHAPES).read()
    records = [item for item in page if isinstance(item, RecordIn)]
    rows = [row_of(records[at : at + 2]) for at in range(0, len(records), 2)]
    export([rows], to=connect_sink(out, shape=SHAPES["augmented"]), layout=Layout())

    # then
    assert [msgspec.json.decode(line) for line in out.read_bytes().splitlines()] == documents


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text("ab.", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)
EXTRA = st.dictionaries(st.sampled_from(["x", "y", "type"]), JSON)


@given(top=EXTRA, state=EXTRA, data=EXTRA, subjects=JSON, contributors=JSON, production=JSON)
def test_odd_documents_come_back_equal(
    top: Document, state: Document, data: Document, subjects: Value, contributors: Value, production: Value
) -> None:
    """Whatever else an augmented image holds, it leaves as it came, and it has an indexed form."""
    # given
    document = augmented() | top
    document["state"] |= state
    document["source"]["data"] |= data | {"subjects": subjects, "contributors": contributors, "production": production}

    # when
    records = read(document)

    # then
    assert SHAPES["augmented"].write(row_of(records)) == document
    assert SHAPES["indexed"].write(row_of(records))["query"]["id"] == "img1"
