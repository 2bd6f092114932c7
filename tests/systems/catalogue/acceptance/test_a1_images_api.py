"""A1, S1, S2, S4 and S6 over HTTP: the images API answers as the library's own does."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.api.served import Served, serving
from tests.damage import damage_index
from tests.systems.catalogue.conftest import Library
from tests.systems.catalogue.projects import CatalogueProject, over_given_vectors
from tests.waiting import until

ROOT = "/catalogue/v2"


def project_of(folder: Path) -> CatalogueProject:
    """A project over documents in the indexed shape."""
    folder.mkdir(parents=True)
    project = CatalogueProject(folder)
    pipeline = over_given_vectors(filters='[*words.filters, "parent.production_dates"]')
    project.pipeline.write_text(pipeline, encoding="utf-8")
    return project


def take_in(served: Served, documents: Sequence[Mapping[str, Any]]) -> None:
    """Take documents in the indexed shape in, and wait until they are searched."""
    lines = b"".join(json.dumps(document).encode() + b"\n" for document in documents)
    answer = served.client.put(
        "/api/v1/collections/images/records?shape=indexed",
        content=lines,
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["set_aside"] == 0
    served.ended(answer.json()["job"])
    until(lambda: served.client.get(f"{ROOT}/images").json().get("totalResults") == len(documents))


def indexed(
    identity: str,
    *,
    title: str = "a plate",
    licence: str = "cc-by",
    genres: Sequence[str] = (),
    dates: Sequence[int] = (),
) -> dict[str, Any]:
    """A document in the indexed shape."""
    concepts = [{"id": f"g-{genre[:3].lower()}", "label": genre} for genre in genres]
    work = f"w{identity}"
    return {
        "display": {
            "id": identity,
            "type": "Image",
            "locations": [
                {"locationType": {"id": "iiif-image"}, "license": {"id": licence}, "url": "https://x.test/a"}
            ],
            "source": {
                "id": work,
                "title": title,
                "type": "Work",
                "contributors": [],
                "subjects": [],
                "languages": [],
                "genres": [
                    {"label": genre, "concepts": [{**c, "type": "Genre"}], "type": "Genre"}
                    for genre, c in zip(genres, concepts, strict=True)
                ],
            },
        },
        "query": {"id": identity, "source": {"id": work, "title": title, "identifiers.value": [work]}},
        "aggregatableValues": {
            "locations.license": [{"id": licence, "label": licence}],
            "source.genres": concepts,
        },
        "filterableValues": {
            "locations.license.id": [licence],
            "source.genres.label": list(genres),
            "source.genres.concepts.id": [concept["id"] for concept in concepts],
            "source.genres.concepts.sourceIdentifier": [f"src-{concept['id']}" for concept in concepts],
            "source.production.dates.range.from": list(dates),
        },
        "vectorValues": {"features": [], "paletteEmbedding": []},
        "modifiedTime": "2020-01-01T00:00:00Z",
    }


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Six invented images."""
    with serving(project_of(tmp_path_factory.mktemp("shelf") / "cat").folder) as up:
        take_in(
            up,
            [
                indexed("aaa", title="Bread and butter", genres=["Maps"], dates=[-27517622400000]),
                indexed("bbb", title="Bread bread", licence="pdm", genres=["Maps", "Prints, coloured"], dates=[0]),
                indexed("ccc", title="A ship", licence="pdm", genres=["Prints, coloured"]),
                indexed("ddd", title="A shore", dates=[86_400_000]),
                indexed("eee", title="A tree"),
                indexed("fff", title="A bird", dates=[-1]),
            ],
        )
        yield up


def found(served: Served, query: str) -> list[str]:
    """The ids that a list holds."""
    return [one["id"] for one in served.client.get(f"{ROOT}/images?{query}").json()["results"]]


def test_a1_lists_and_links(shelf: Served) -> None:
    """A list is in order of ids, in pages that name the next and the one before."""
    # when
    first = shelf.client.get(f"{ROOT}/images?pageSize=4").json()
    second = shelf.client.get(first["nextPage"]).json()

    # then
    assert (first["type"], first["pageSize"], first["totalPages"], first["totalResults"]) == ("ResultList", 4, 2, 6)
    assert [one["id"] for one in (*first["results"], *second["results"])] == ["aaa", "bbb", "ccc", "ddd", "eee", "fff"]
    assert "prevPage" not in first
    assert "nextPage" not in second
    assert shelf.client.get(second["prevPage"]).json()["results"] == first["results"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("locations.license=pdm", ["bbb", "ccc"]),
        ("locations.license=pdm,cc-by&source.genres.label=Maps", ["aaa", "bbb"]),
        ('source.genres.label="Prints, coloured"', ["bbb", "ccc"]),
        ("source.genres=g-map", ["aaa", "bbb"]),
        ("source.genres=src-g-map", ["aaa", "bbb"]),
        ("source.genres=", ["aaa", "bbb", "ccc", "ddd", "eee", "fff"]),
        ("source.production.dates.from=1970-01-01", ["bbb", "ddd"]),
        ("source.production.dates.to=1969-12-31", ["aaa", "fff"]),
        ("source.production.dates.from=1970-01-01&source.production.dates.to=1970-01-01", ["bbb"]),
        ("sort=source.production.dates", ["aaa", "fff", "bbb", "ddd", "ccc", "eee"]),
        ("sort=source.production.dates&sortOrder=desc", ["ddd", "bbb", "fff", "aaa", "ccc", "eee"]),
        ("query=waaa", ["aaa"]),
    ],
)
def test_a1_filters_and_orders(shelf: Served, query: str, ids: list[str]) -> None:
    """Values of one filter are any of them, filters are all of them, dates include their ends."""
    assert found(shelf, query) == ids


def test_a1_facets(shelf: Served) -> None:
    """A facet is ordered by count, then label; it passes over its own filter and obeys the others."""
    # when
    told = shelf.client.get(
        f"{ROOT}/images?aggregations=locations.license,source.genres.label,source.genres&locations.license=pdm"
    ).json()["aggregations"]

    # then
    counts = {
        name: [(one["data"]["id"], one["data"]["label"], one["count"]) for one in facet["buckets"]]
        for name, facet in told.items()
        if name != "type"
    }
    assert counts["license"] == [
        ("cc-by", "Attribution 4.0 International (CC BY 4.0)", 4),
        ("pdm", "Public Domain Mark", 2),
    ]
    assert counts["source.genres.label"] == [
        ("Prints, coloured", "Prints, coloured", 2),
        ("Maps", "Maps", 1),
    ]
    assert counts["source.genres"] == [("g-pri", "Prints, coloured", 2), ("g-map", "Maps", 1)]


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/images?color=%3C", 400, "color: '<' is not a valid value. Please supply a single hex string."),
        ("/images?page=0", 400, "page: must be greater than 1"),
        ("/images?pageSize=101", 400, "pageSize: must be between 1 and 100"),
        ("/images?page=2000000000&pageSize=100", 400, "Only the first 10000 images are available in the API."),
        (
            "/images?source.production.dates.from=INVALID",
            400,
            "source.production.dates.from: Invalid date encoding. Expected YYYY-MM-DD",
        ),
        ("/images?include=withSimilarFeatures", 400, "include: 'withSimilarFeatures' is not a valid value."),
        ("/images/nobody", 404, "Image not found for identifier nobody"),
        ("/images/%3C%20%3E", 404, "Image not found for identifier < >"),
    ],
)
def test_a1_errors(shelf: Served, path: str, status: int, told: str) -> None:
    """Mistakes are told in the library's own form and words."""
    # when
    answer = shelf.client.get(f"{ROOT}{path}")

    # then
    assert answer.status_code == status
    assert answer.json()["description"].startswith(told)
    assert (answer.json()["type"], answer.json()["errorType"], answer.json()["httpStatus"]) == ("Error", "http", status)


def test_a1_includes(shelf: Served) -> None:
    """What of a work is shown besides is what was asked for."""
    # when
    plain = shelf.client.get(f"{ROOT}/images/bbb").json()
    more = shelf.client.get(f"{ROOT}/images/bbb?include=source.genres,withSimilarFeatures").json()

    # then
    assert set(plain["source"]) == {"id", "title", "type"}
    assert [genre["label"] for genre in more["source"]["genres"]] == ["Maps", "Prints, coloured"]
    assert more["withSimilarFeatures"] == []


def test_a1_root_is_a_setting(tmp_path: Path) -> None:
    """The images API lies where the project's settings say."""
    project = project_of(tmp_path / "cat")
    with serving(project.folder, systems={"catalogue": {"root": "/library"}}) as served:
        # given
        until(lambda: served.client.get("/library/images").status_code == 200)

        # then
        assert served.client.get(f"{ROOT}/images").status_code == 404


def real_documents(folder: Path) -> dict[str, dict[str, Any]]:
    """The library's documents, the few real ones with their vectors."""
    lines = (folder / "api_documents.jsonl").read_text() + (folder / "real_images.jsonl").read_text()
    found = {line["fixture"]: line["document"] for line in map(json.loads, lines.splitlines())}
    held = np.load(folder / "real_image_vectors.npz")
    for name, features, palette in zip(held["fixture"], held["features"], held["palette"], strict=True):
        vectors = {"features": features.tolist(), "paletteEmbedding": palette.tolist()}
        found[str(name)] = {**found[str(name)], "vectorValues": vectors}
    return found


@pytest.mark.real_data
def test_s1_s2_orders_of_the_original(tmp_path: Path, shared_data: Path) -> None:
    """By likeness and by colour, with words or without, the real images come in the original's order."""
    # given
    folder = shared_data / "catalogue"
    documents, expected = real_documents(folder), json.loads((folder / "expected.json").read_text())
    real = [name for name, document in documents.items() if document.get("vectorValues", {}).get("features")]
    ids = {name: documents[name]["query"]["id"] for name in real}
    with serving(project_of(tmp_path / "cat").folder) as served:
        take_in(served, [documents[name] for name in real])
        similar = expected["similar"]
        asked = f"/api/v1/search?collection=images&similar={ids[similar['image']]}"
        until(lambda: served.client.get(asked).json().get("total") == len(real) - 1)

        # when
        like = served.client.get(f"{ROOT}/images/{ids[similar['image']]}?include=withSimilarFeatures").json()

        # then
        shown = [one["id"] for one in like["withSimilarFeatures"]]
        assert shown[: similar["n"]] == [ids[name] for name in similar["expected_order"]]
        for case in expected["colour_search"]:
            order = [ids[name] for name in case["expected_order"]]
            candidates = {ids[name] for name in case["candidates"]}
            query = f"color={case['color']}&query={case.get('query', '')}&pageSize=100"
            # The index of one kind of value may follow a moment after that of another.
            until(lambda: set(order) <= set(found(served, query)))  # noqa: B023 - asked before the next case
            assert [identity for identity in found(served, query) if identity in candidates] == order, case["name"]


@pytest.mark.real_data
@pytest.mark.slow
def test_a1_cases(tmp_path: Path, shared_data: Path) -> None:
    """Every case of the original is answered with its status, order, totals, facets and bodies."""
    # given
    folder = shared_data / "catalogue"
    documents = real_documents(folder)
    by_documents: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for case in json.loads((folder / "api_cases.json").read_text()):
        by_documents.setdefault(tuple(case["documents"]), []).append(case)

    wrong = []
    for number, (names, cases) in enumerate(by_documents.items()):
        with serving(project_of(tmp_path / f"cat{number}").folder) as served:
            if names:
                take_in(served, [documents[name] for name in names])
            # when, then
            wrong += [f"{case['id']}: {why}" for case in cases if (why := _differs(served, case))]
    assert wrong == []


def _differs(served: Served, case: Mapping[str, Any]) -> str | None:
    """How the answer to a case differs from what it is to be."""
    answer = served.client.get(f"{ROOT}{case['path']}")
    body = answer.json()
    shown = [one["id"] for one in body.get("results", [])]
    checks: dict[str, tuple[object, object]] = {"status": (answer.status_code, case["status"])}
    if "results" in case:
        checks["results"] = (shown, case["results"])
    for name in ("totalResults", "aggregations"):
        if name in case:
            checks[name] = (body.get(name), case[name])
    if "body" in case:
        checks["body"] = (body, case["body"])
    if "results_body" in case:
        checks["results_body"] = (body.get("results"), case["results_body"])
    for name, value in case.get("has", {}).items():
        checks[name] = (body.get(name), value)
    differing = {name: pair for name, pair in checks.items() if pair[0] != pair[1]}
    return f"{differing}" if differing else None


@pytest.fixture(scope="module")
def drawn(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The library of drawn plates, served."""
    project = library.project.copy(tmp_path_factory.mktemp("drawn") / "cat")
    with serving(project.folder) as up:
        yield up


def test_s1_similar_over_http(drawn: Served, library: Library) -> None:
    """Photographs of the same plate come first and the picture itself never, with a filter and a least score."""
    # given
    original, *again = [picture.id for picture in library.drawn.pictures[:3]]

    # when
    single = drawn.client.get(f"{ROOT}/images/{original}?include=withSimilarFeatures").json()
    asked = drawn.client.get(
        "/api/v1/search", params={"collection": "images", "similar": original, "min_score": 0.5, "limit": 5}
    ).json()

    # then
    assert {one["id"] for one in single["withSimilarFeatures"][:2]} == set(again)
    assert len(single["withSimilarFeatures"]) == 5
    assert {hit["id"] for hit in asked["hits"][:2]} == set(again)
    assert original not in [hit["id"] for hit in asked["hits"]]


def test_s2_colour_over_http(drawn: Served, library: Library) -> None:
    """Colour orders, words filter, pages fit together."""
    # given
    count = len(library.ids)

    # when
    whole = found(drawn, f"color=24a0a6&pageSize={count}")
    pages = [one for page in range(1, 6) for one in found(drawn, f"color=24a0a6&pageSize=7&page={page}")]
    by_api = drawn.client.get(
        "/api/v1/search", params={"collection": "images", "by": "colour=24a0a6", "limit": count}
    ).json()

    # then
    assert set(whole) == set(library.ids)
    assert pages[:count] == whole
    assert [hit["id"] for hit in by_api["hits"]] == whole


def test_s4_one_query_over_http(drawn: Served, library: Library) -> None:
    """Words, filter and colour in one request equal filtering the answer by hand."""
    # given
    one = library.drawn.pictures[0]
    word = one.title.split()[1]
    licensed = {picture.id for picture in library.drawn.pictures if picture.licence == one.licence}
    worded = set(found(drawn, f"query={word}&pageSize=100"))
    coloured = found(drawn, "color=e27a20&pageSize=100")

    # when
    together = found(drawn, f"query={word}&color=e27a20&locations.license={one.licence}&pageSize=100")

    # then
    assert together
    assert together == [identity for identity in coloured if identity in licensed & worded]


def test_s6_errors_are_errors(copied: Library) -> None:
    """An index that cannot be read is 503 in either form, never an empty list."""
    with serving(copied.project.folder) as served:
        # given
        until(lambda: served.client.get(f"{ROOT}/images").status_code == 200)
        damage_index(copied.project.folder)

        # when
        facade = served.client.get(f"{ROOT}/images")
        own = served.client.get("/api/v1/search?collection=images&text=a")

    # then
    assert (facade.status_code, own.status_code) == (503, 503)
    assert facade.json()["type"] == "Error"
