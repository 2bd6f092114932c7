"""What leads to a query: URLs of indexes, values that people type, and encoders of kinds of query."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from limner.domain.outputs import Vector
from limner.domain.pipelines import Implementation, Pipeline, QueryEncoder, make_index, make_pipeline, make_stage
from limner.errors import ConfigurationError, UsageError
from limner.search.base import Comparable
from limner.search.conditions import typed
from limner.search.connect import connect_search
from limner.search.encoders import near_by
from limner.search.mapping import FilterKind, Mapping


def one_hot(value: str, *, bins: int = 3, blur: float = 0.0) -> npt.NDArray[np.float32]:
    """A vector that is 1 at *value*."""
    at = int(value)
    if not 0 <= at < bins:
        raise ValueError(f"{value!r} is no bin; there are {bins}")
    vector = np.full(bins, blur, dtype=np.float32)
    vector[at] = 1
    return vector


def with_encoder(encode: str, *, bins: int) -> Pipeline:
    """A pipeline whose palette has *bins* and a query encoder."""
    palette = make_stage(
        "palette",
        reads={"x": "url"},
        implementations={"exact": Implementation(infer="a:B", params={"bins": bins, "noise": 30})},
        outputs={"vector": Vector()},
    )
    index = make_index(encoders={"colour": QueryEncoder(on="palette.vector", encode=encode)})
    return make_pipeline("catalogue", collection="images", stages=[palette], index=index)


def test_an_encoder_follows_its_stage() -> None:
    """A query by a kind is encoded with the stage's own parameters, so that changed bins change the query."""
    for bins in (4, 6):
        near = near_by(with_encoder(f"{__name__}:one_hot", bins=bins), kind="colour", value="2")
        assert near.path == "palette.vector"
        assert near.vector is not None
        assert near.vector.tolist() == [float(at == 2) for at in range(bins)]


def test_a_value_that_the_encoder_refuses_is_a_usage_error() -> None:
    """What the encoder says of a wrong value reaches the user, and so do the known kinds."""
    pipeline = with_encoder(f"{__name__}:one_hot", bins=4)
    with pytest.raises(UsageError, match="'9' is no bin"):
        near_by(pipeline, kind="colour", value="9")
    with pytest.raises(UsageError, match="colour"):
        near_by(pipeline, kind="sound", value="9")


@pytest.mark.parametrize("encode", ["no.such.module:f", f"{__name__}:nothing", f"{__name__}:__doc__", "colour"])
def test_an_encoder_that_cannot_be_loaded_is_a_configuration_error(encode: str) -> None:
    """The sentence names the encoder."""
    with pytest.raises(ConfigurationError, match="colour"):
        near_by(with_encoder(encode, bins=3), kind="colour", value="1")


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("word", "5", "5"),
        ("word", "true", "true"),
        ("number", "-27517622400000", -27517622400000),
        ("number", "1e3", 1000.0),
        ("number", "0.5", 0.5),
        ("flag", "True", True),
        ("any", "pdm", "pdm"),
        ("any", "5", 5),
        ("any", "false", False),
        ("any", "nan", "nan"),
    ],
)
def test_what_people_type_has_the_kind_of_its_path(path: str, text: str, value: Comparable) -> None:
    """Typed values are read by the declared kind, else by what they look like."""
    mapping = Mapping(filters={kind.value: kind for kind in FilterKind})
    read = typed(text, path=path, mapping=mapping)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("path", "text"), [("number", "abc"), ("number", "inf"), ("flag", "1"), ("nowhere", "x")])
def test_what_is_no_value_of_its_path_is_refused(path: str, text: str) -> None:
    """A typed value of another kind is named."""
    with pytest.raises(UsageError, match=path):
        typed(text, path=path, mapping=Mapping(filters={kind.value: kind for kind in FilterKind}))


@pytest.mark.parametrize(
    ("url", "name"), [("opensearch:x", "a"), ("sqlite:", "a"), ("sqlite:x", "../a"), ("sqlite:x", "")]
)
def test_a_url_or_name_that_leads_nowhere_is_a_configuration_error(url: str, name: str) -> None:
    """The sentence says what can be written."""
    with pytest.raises(ConfigurationError):
        connect_search(url, name=name)


def test_an_index_that_is_only_asked_for_leaves_nothing_on_disk(tmp_path: Path) -> None:
    """Looking for an index that was never built makes no folder."""
    index = connect_search(f"sqlite:{tmp_path}", name="catalogue.images")
    assert index.generations() == []
    assert list(tmp_path.iterdir()) == []
