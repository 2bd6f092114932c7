"""Orders that a library's own search gives for its records, with its weights, kept by ours."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from limner.domain.values import Value
from limner.search.base import Document, Near, Query, SearchIndex
from limner.search.connect import connect_search
from limner.search.mapping import Mapping

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    """The folder of the catalogue's real records."""
    return shared_data / "catalogue"


@pytest.fixture(scope="module")
def weights(folder: Path) -> dict[str, float]:
    """The weight of each text field in the library's own query."""
    fields = json.loads((folder / "mappings" / "ImagesQuery.json").read_text())["multi_match"]["fields"]
    split = [field.removeprefix("query.").partition("^") for field in fields]
    return {name.removesuffix(".*"): float(weight or 1) for name, _, weight in split}


def lines(file: Path) -> list[dict[str, Value]]:
    """The records of *file*, one a line."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def text_of(record: dict[str, Value], *, weights: dict[str, float]) -> dict[str, list[str]]:
    """The text of a record's query fields by path, a field with the paths below it."""
    query = record["document"]["query"]
    flat = {"id": query["id"]} | {f"source.{name}": value for name, value in query["source"].items()}
    found: dict[str, list[str]] = {}
    for name, value in flat.items():
        path = name if name in weights else next((p for p in weights if name.startswith(f"{p}.") or p == name), None)
        if path is not None:
            found.setdefault(path, []).extend(value if isinstance(value, list) else [value])
    return found


def index_of(url: str, *, name: str, documents: list[Document], weights: dict[str, float]) -> SearchIndex:
    """An index called *name* whose current generation holds *documents*."""
    index = connect_search(url, name=name)
    index.switch(index.create(Mapping(text=weights, vectors={"features.vector": None, "palette.vector": None})))
    index.apply(documents)
    return index


def test_words_find_what_the_library_finds(folder: Path, weights: dict[str, float], url: str) -> None:
    """Each recorded query that is words alone finds the same records in the same order."""
    records = {record["fixture"]: record for record in lines(folder / "api_documents.jsonl")}
    cases = [
        case
        for case in json.loads((folder / "api_cases.json").read_text())
        if case["path"].startswith("/images?query=")
    ]
    assert len(cases) >= 2
    for number, case in enumerate(cases):
        documents = [
            Document(id=record["id"], text=text_of(record, weights=weights))
            for record in (records[name] for name in case["documents"])
        ]
        index = index_of(url, name=str(number), documents=documents, weights=weights)
        page = index.search(Query(text=case["path"].partition("=")[2]))
        found = [hit.id for hit in page.hits]
        assert page.total == case["totalResults"], case["id"]
        assert found == case["results"], case["id"]
        index.close()


@pytest.fixture
def vectors(folder: Path, weights: dict[str, float], url: str) -> Iterator[SearchIndex]:
    """An index of the real records that have real vectors, by the names of their fixtures."""
    held = np.load(folder / "real_image_vectors.npz")
    records = {record["fixture"]: record for record in lines(folder / "real_images.jsonl")}
    documents = [
        Document(
            id=str(name),
            text=text_of(records[str(name)], weights=weights),
            vectors={"features.vector": held["features"][at], "palette.vector": held["palette"][at]},
            versions={"features.vector": "given", "palette.vector": "given"},
        )
        for at, name in enumerate(held["fixture"])
    ]
    with closing(index_of(url, name="i", documents=documents, weights=weights)) as index:
        yield index


def test_likeness_of_real_vectors_is_the_libraries(folder: Path, vectors: SearchIndex) -> None:
    """The records most like a record come in the recorded order, without the record itself."""
    expected = json.loads((folder / "expected.json").read_text())["similar"]
    among = {name for name in names_of(folder) if name.startswith("images.similar-features")}
    others = tuple(sorted(set(names_of(folder)) - among))
    near = Near(path="features.vector", like=expected["image"], exclude=others)
    page = vectors.search(Query(near=near, limit=expected["n"]))
    assert [hit.id for hit in page.hits] == expected["expected_order"]


def names_of(folder: Path) -> list[str]:
    """The fixtures of the records that have real vectors."""
    return [str(name) for name in np.load(folder / "real_image_vectors.npz")["fixture"]]


def colour(digits: str) -> npt.NDArray[np.float32]:
    """The library's own query by colour: the nearest of ten bins a channel, blurred by 0.3 bins."""
    bins = np.floor(np.array([int(digits[at : at + 2], 16) for at in (0, 2, 4)]) / 255 * 9 + 0.5)
    distance = sum((axis - at) ** 2 for axis, at in zip(np.indices((10, 10, 10)), bins, strict=True))
    return np.asarray(np.exp(-distance / 0.18).ravel(), dtype=np.float32)


def test_colours_with_words_come_in_the_recorded_order(folder: Path, vectors: SearchIndex) -> None:
    """A colour beside words finds the records that hold all the words, in the recorded order of colour."""
    for case in json.loads((folder / "expected.json").read_text())["colour_search"]:
        others = tuple(sorted(set(names_of(folder)) - set(case["candidates"])))
        near = Near(path="palette.vector", vector=colour(case["color"]), exclude=others)
        page = vectors.search(Query(text=case["query"], near=near))
        assert [hit.id for hit in page.hits] == case["expected_order"], case["name"]
