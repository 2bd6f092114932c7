"""The mapping follows from what a pipeline declares."""

import pytest

from limner.domain.outputs import Anything, Artifact, Bytes, Flag, Number, Strings, Text, Vector
from limner.domain.pipelines import Pipeline, QueryEncoder, Stage, make_index, make_pipeline, make_stage
from limner.domain.values import Value
from limner.errors import ConfigurationError
from limner.search.mapping import FilterKind, Mapping, mapping_of

FEATURES = make_stage("features", "a:B", reads={"x": "url"}, outputs={"vector": Vector(length=4, unit=True)})
SHARPNESS = make_stage(
    "sharpness",
    "a:C",
    reads={"x": "url"},
    outputs={
        "number": Number(),
        "word": Text(),
        "flag": Flag(),
        "tokens": Strings(),
        "vector": Vector(),
        "code": Bytes(length=2),
        "box": Anything(),
        "file": Artifact(),
    },
)


def pipeline(*stages: Stage, **index: Value) -> Pipeline:
    """A pipeline over images with *stages* and the index made of the rest."""
    return make_pipeline("catalogue", collection="images", stages=stages, index=make_index(**index))


def test_one_more_stage_is_searched_without_being_listed() -> None:
    """Everything comparable that a stage declares is in the mapping; nothing else of it is."""
    before = mapping_of(pipeline(FEATURES, filters=["licence"], text=["title"]))
    after = mapping_of(pipeline(FEATURES, SHARPNESS, filters=["licence"], text=["title"]))
    assert before == Mapping(text={"title": 1.0}, filters={"licence": FilterKind.ANY}, vectors={"features.vector": 4})
    assert after.filters == {
        "licence": FilterKind.ANY,
        "sharpness.number": FilterKind.NUMBER,
        "sharpness.word": FilterKind.WORD,
        "sharpness.flag": FilterKind.FLAG,
        "sharpness.tokens": FilterKind.WORD,
    }
    assert after.vectors == {"features.vector": 4, "sharpness.vector": None}
    assert mapping_of(pipeline(FEATURES, filters=["licence"], text=["title"])) == before


def test_what_is_read_as_words_is_compared_whole_only_if_listed_so() -> None:
    """A text output that the index lists as text stops being a filter, unless the index lists it as one too."""
    words = mapping_of(pipeline(SHARPNESS, text={"sharpness.word": 3, "parent.title": 500}))
    both = mapping_of(pipeline(SHARPNESS, text=["sharpness.word"], filters=["sharpness.word"]))
    assert words.text == {"sharpness.word": 3.0, "parent.title": 500.0}
    assert "sharpness.word" not in words.filters
    assert both.filters["sharpness.word"] is FilterKind.WORD


def test_an_outcome_of_the_parent_is_searched_where_listed() -> None:
    """A stage over the parents' collection is searched through parent., with the kind that it declares."""
    summary = make_stage(
        "summary", "a:D", reads={"x": "features.vector"}, kind="gather", over="works", of="images", by="parent",
        outputs={"images": Number(), "mean": Vector(length=4)},
    )  # fmt: skip
    found = mapping_of(pipeline(FEATURES, summary, filters=["parent.summary.images"], vectors=["parent.summary.mean"]))
    assert found.filters == {"parent.summary.images": FilterKind.NUMBER}
    assert found.vectors == {"features.vector": 4, "parent.summary.mean": 4}
    works = mapping_of(pipeline(FEATURES, summary), collection="works")
    assert works == Mapping(filters={"summary.images": FilterKind.NUMBER}, vectors={"summary.mean": 4})


def test_children_are_searched_by_what_they_are_made_of() -> None:
    """The outputs of an expand are fields of its children, and nothing of its own record."""
    boxes = make_stage(
        "boxes", "a:E", reads={"x": "url"}, kind="expand", of="detections", identity=["x"],
        outputs={"x": Number(), "label": Text()},
    )  # fmt: skip
    made = pipeline(boxes)
    assert mapping_of(made) == Mapping()
    assert mapping_of(made, collection="detections").filters == {"x": FilterKind.NUMBER, "label": FilterKind.WORD}


def test_a_stage_without_declarations_may_be_listed() -> None:
    """Where a stage declares nothing the index is believed, and the first vector gives the length."""
    found = mapping_of(pipeline(make_stage("features", "a:B", reads={"x": "url"}), vectors=["features.vector"]))
    assert found.vectors == {"features.vector": None}


@pytest.mark.parametrize(
    ("index", "named"),
    [
        ({"filters": ["sharpness.code"]}, "sharpness.code"),
        ({"filters": ["sharpness.vector"]}, "sharpness.vector"),
        ({"filters": ["sharpness.nothing"]}, "sharpness.nothing"),
        ({"text": ["sharpness.number"]}, "sharpness.number"),
        ({"text": {"title": 0}}, "title"),
        ({"vectors": ["sharpness.word"]}, "sharpness.word"),
        ({"encoders": {"colour": QueryEncoder(on="palette.vector", encode="a:b")}}, "palette.vector"),
    ],
    ids=str,
)
def test_a_listing_that_contradicts_the_outputs_is_refused(index: dict[str, Value], named: str) -> None:
    """An index that lists a path as what it cannot be is a configuration error that names the path."""
    with pytest.raises(ConfigurationError, match=named):
        mapping_of(pipeline(SHARPNESS, **index))
