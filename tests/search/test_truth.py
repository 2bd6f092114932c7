"""Answers equal what one finds by hand, and near neighbours those that comparing all finds."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.domain.reads import Comparison, Condition, where
from limner.domain.values import Value
from limner.search.base import Document, Near, Query, SearchIndex
from limner.search.connect import connect_search
from limner.search.mapping import FilterKind, Mapping
from limner.search.sqlite import SqliteSearch
from tests.search.databases import index_url

MAPPING = Mapping(
    text={"title": 1.0},
    filters={"licence": FilterKind.WORD, "year": FilterKind.NUMBER, "open": FilterKind.FLAG},
    vectors={"v": 4},
)
WORDS = ("red", "green", "blue", "stone", "bread")
LICENCES = ("pdm", "inc", "cc-by")

values = st.fixed_dictionaries(
    {},
    optional={
        "licence": st.lists(st.sampled_from(LICENCES), min_size=1, max_size=2, unique=True),
        "year": st.integers(-3, 3) | st.sampled_from([-1.5, 0.5]),
        "open": st.booleans(),
    },
)
vectors = st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.0]), min_size=4, max_size=4).filter(any)
entries = st.tuples(st.lists(st.sampled_from(WORDS), max_size=4), values, st.none() | vectors)
conditions = st.one_of(
    st.builds(lambda c, v: where("licence", c, v), st.sampled_from(["==", "!=", "<", ">="]), st.sampled_from(LICENCES)),
    st.builds(
        lambda c, v: where("licence", c, v),
        st.sampled_from(["in", "not in"]),
        st.lists(st.sampled_from(LICENCES), max_size=3),
    ),
    st.builds(
        lambda c, v: where("year", c, v),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
        st.integers(-4, 4) | st.just(0.5),
    ),
    st.builds(lambda c, v: where("open", c, v), st.sampled_from(["==", "!="]), st.booleans()),
    st.builds(lambda p, v: where(p, "exists", v), st.sampled_from(["licence", "year", "open"]), st.booleans()),
)


def keeps(document: Document, condition: Condition) -> bool:
    """What the contract says of conditions, by hand."""
    given = document.filters.get(condition.path, [])
    held = list(given) if isinstance(given, list) else [given]
    wanted: Value = condition.value
    each: dict[Comparison, Callable[[Value], bool]] = {
        Comparison.EQUAL: lambda v: v == wanted,
        Comparison.LESS: lambda v: v < wanted,
        Comparison.AT_MOST: lambda v: v <= wanted,
        Comparison.MORE: lambda v: v > wanted,
        Comparison.AT_LEAST: lambda v: v >= wanted,
        Comparison.IN: lambda v: v in wanted,
        Comparison.EXISTS: lambda v: True,
    }
    opposite = {Comparison.NOT_EQUAL: Comparison.EQUAL, Comparison.NOT_IN: Comparison.IN}
    some = any(each[opposite.get(condition.compare, condition.compare)](value) for value in held)
    return some != (condition.compare in opposite or (condition.compare is Comparison.EXISTS and wanted is False))


def by_hand(documents: list[Document], query: Query) -> list[str]:
    """The ids that *query* must find, in order."""
    words = query.text.split()
    left = [d for d in documents if all(keeps(d, condition) for condition in query.filters)]
    left = [d for d in left if all(word in str(d.text.get("title", "")).split() for word in words)]
    if query.near is None:
        return sorted(document.id for document in left)
    asked = np.asarray(query.near.vector, dtype=np.float64)
    scores = {}
    for document in left:
        if "v" in document.vectors:
            vector = np.asarray(document.vectors["v"], dtype=np.float64)
            cosine = vector @ asked / np.linalg.norm(vector) / np.linalg.norm(asked)
            scores[document.id] = round(float(cosine), 6)
    return sorted(scores, key=lambda id: (-scores[id], id))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, require_service: Callable[[str], str]
) -> Iterator[str]:
    """Where the indexes of all examples lie."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path_factory.mktemp('indexes')}"
        return
    with index_url(require_service("postgresql")) as made:
        yield made


@settings(max_examples=60)
@given(
    st.lists(entries, max_size=12),
    st.lists(st.sampled_from(WORDS), max_size=2, unique=True),
    st.lists(conditions, max_size=3),
    st.none() | vectors,
)
def test_a_combined_query_equals_filtering_by_hand(
    url: str,
    made: list[tuple[list[str], dict[str, object], list[float] | None]],
    words: list[str],
    asked: list[Condition],
    vector: list[float] | None,
) -> None:
    """Words, conditions and likeness in one query find what each alone leaves, in the order of likeness."""
    documents = [
        Document(
            id=f"d{number:02}",
            text={"title": " ".join(title)},
            filters=filters,  # type: ignore[arg-type]  # drawn values of the mapping's kinds
            vectors={} if numbers is None else {"v": np.array(numbers, dtype=np.float32)},
            versions={} if numbers is None else {"v": "one"},
        )
        for number, (title, filters, numbers) in enumerate(made)
    ]
    near = None if vector is None else Near(path="v", vector=np.array(vector, dtype=np.float32))
    query = Query(text=" ".join(words), filters=tuple(asked), near=near, limit=20)
    index = connect_search(url, name=uuid.uuid4().hex)
    try:
        number = index.create(MAPPING)
        # In two calls, so that some documents take the place of others.
        index.apply([Document(id=document.id, text={"title": "red"}) for document in documents[:4]], generation=number)
        index.apply(documents, generation=number)
        index.switch(number)
        page = index.search(query)
        index.switch(index.create(MAPPING))
        index.drop(number)
    finally:
        index.close()
    found = [hit.id for hit in page.hits]
    expected = by_hand(documents, query)
    assert (found if near or not words else sorted(found)) == expected
    assert page.total == len(expected)


def mixture(*, count: int, length: int, groups: int, seed: int) -> npt.NDArray[np.float32]:
    """Unit vectors around *groups* centres, sorted by none of them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((groups, length))
    made = centres[rng.integers(0, groups, count)] + 0.7 * rng.standard_normal((count, length))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


def documents_of(matrix: npt.NDArray[np.float32], *, first: int = 0) -> Iterator[Document]:
    """A document for each row: every tenth is rare, and half are of the left by their first number."""
    for number, vector in enumerate(matrix, start=first):
        yield Document(
            id=f"{number:06}",
            filters={"licence": "rare" if number % 10 == 0 else "common", "open": bool(vector[0] > 0)},
            vectors={"v": vector},
            versions={"v": "one"},
        )


def graphs(folder: Path) -> list[str]:
    """Up to which slot the graphs in the first generation reach."""
    return [file.stem.split("-")[-1] for file in folder.glob("g1/*.graph")]


def recall(
    index: SearchIndex, *, matrix: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_], query: Query
) -> float:
    """The mean share of the true ten nearest, among those *allowed*, of fifty questions."""
    rng = np.random.default_rng(9)
    shares = []
    for at in rng.integers(0, len(matrix), 50):
        asked = matrix[at] + np.float32(0.02) * rng.standard_normal(matrix.shape[1], dtype=np.float32)
        scores = np.where(allowed, matrix @ asked, -2)
        true = {f"{slot:06}" for slot in np.argsort(-scores)[:10]}
        page = index.search(Query(near=Near(path="v", vector=asked), filters=query.filters))
        assert len(page.hits) == 10
        shares.append(len(true & {hit.id for hit in page.hits}) / 10)
    return float(np.mean(shares))


@pytest.mark.parametrize(("count", "length"), [(6_000, 32), pytest.param(22_000, 128, marks=pytest.mark.slow)], ids=str)
def test_near_neighbours_are_those_that_comparing_all_finds(tmp_path: Path, count: int, length: int) -> None:
    """Found by a graph, with later ones beside it, the nearest are the true ones: of all, of the left, of the rare."""
    matrix = mixture(count=count, length=length, groups=count // 100, seed=4)
    index = SqliteSearch(tmp_path, graph_from=count * 9 // 10, threads=1)
    number = index.create(Mapping(filters=MAPPING.filters, vectors={"v": None}))
    graphed = count * 19 // 20
    for first in (0, graphed):
        chunk = matrix[first : graphed if first == 0 else count]
        index.apply(documents_of(chunk, first=first), generation=number)
    index.switch(number)
    assert graphs(tmp_path) == [str(graphed)]
    everywhere = np.ones(count, dtype=np.bool_)
    left = matrix[:, 0] > 0
    rare = np.arange(count) % 10 == 0
    assert recall(index, matrix=matrix, allowed=everywhere, query=Query()) >= 0.99
    assert recall(index, matrix=matrix, allowed=left, query=Query(filters=(where("open", "==", True),))) >= 0.99
    assert recall(index, matrix=matrix, allowed=rare, query=Query(filters=(where("licence", "==", "rare"),))) == 1.0
    index.close()


def test_what_was_deleted_or_changed_is_not_found_through_a_graph(tmp_path: Path) -> None:
    """A graph still holds vectors that are gone; a query finds only those that are there, as many as it asks for."""
    matrix = mixture(count=4_000, length=16, groups=1, seed=2)
    index = SqliteSearch(tmp_path, graph_from=3_000, threads=1)
    number = index.create(Mapping(filters=MAPPING.filters, vectors={"v": None}))
    index.apply(documents_of(matrix), generation=number)
    index.switch(number)
    near = Near(path="v", vector=matrix[17])
    before = [hit.id for hit in index.search(Query(near=near, limit=40)).hits]
    assert before[0] == "000017"
    changed = Document(id=before[1], vectors={"v": -matrix[17]}, versions={"v": "one"})
    index.apply([changed], deletes=[*before[:1], *before[2:30]])
    page = index.search(Query(near=near, limit=40))
    found = [hit.id for hit in page.hits]
    assert len(found) == 40
    assert found[:10] == before[30:]
    assert not {*before[:30]} & {*found}
    assert page.total == 4_000 - 29
    index.close()


def test_a_graph_grows_with_its_generation_and_is_made_anew_when_half_is_gone(tmp_path: Path) -> None:
    """Enough later vectors are taken into the graph; the file before is removed; nothing found is lost."""
    matrix = mixture(count=7_600, length=8, groups=50, seed=6)
    index = SqliteSearch(tmp_path, graph_from=2_000, threads=1)
    number = index.create(Mapping(filters=MAPPING.filters, vectors={"v": None}))
    index.switch(number)
    sizes = []
    for first, end in ((0, 2_000), (2_000, 2_500), (2_500, 7_600)):
        index.apply(documents_of(matrix[first:end], first=first))
        sizes += graphs(tmp_path)
    assert sizes == ["2000", "2000", "7600"]
    # All vectors change: what the graph held is gone, so a new one is made of the new ones.
    index.apply(documents_of(-matrix))
    assert graphs(tmp_path) == ["15200"]
    assert recall(index, matrix=-matrix, allowed=np.ones(7_600, dtype=np.bool_), query=Query()) >= 0.99
    index.close()
