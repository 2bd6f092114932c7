"""Work I: one query for text, filter and nearest vector over 100,000 documents; prints one JSON object."""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import numpy.typing as npt
from msgspec import structs
from servers import servers

from limner.domain.reads import where
from limner.search.base import Document, Match, Near, Query, SearchIndex
from limner.search.connect import connect_search
from limner.search.mapping import FilterKind, Mapping

MAPPING = Mapping(
    text={"title": 500.0, "description": 1.0},
    filters={"licence": FilterKind.WORD, "year": FilterKind.NUMBER},
    vectors={"features.vector": None},
)
LICENCES = ("cc-by", "pdm", "cc-0", "inc", "ogl")
WORDS = 5_000


def vectors(rng: np.random.Generator, *, count: int, length: int, groups: int = 1_000) -> npt.NDArray[np.float32]:
    """A mixture: *groups* centres with noise, as pictures of kinds are; of unit length."""
    centres = rng.standard_normal((groups, length), dtype=np.float32)
    made = centres[rng.integers(0, groups, count)] + 0.7 * rng.standard_normal((count, length), dtype=np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


def words(rng: np.random.Generator, *, count: int) -> str:
    """*count* words, some of them far more frequent than others."""
    return " ".join(f"w{min(WORDS, int(rank))}" for rank in rng.zipf(1.3, count))


def documents(rng: np.random.Generator, *, matrix: npt.NDArray[np.float32]) -> Iterator[Document]:
    """A document for each row of *matrix*."""
    for number, vector in enumerate(matrix):
        yield Document(
            id=f"image-{number:07d}",
            text={"title": words(rng, count=5), "description": words(rng, count=20)},
            filters={"licence": str(rng.choice(LICENCES)), "year": int(rng.integers(-900, 2020))},
            vectors={"features.vector": vector},
            versions={"features.vector": "one"},
        )


def fill(index: SearchIndex, *, matrix: npt.NDArray[np.float32], rng: np.random.Generator) -> float:
    """Fill a generation with *matrix* in batches and switch to it; returns the seconds that it took."""
    number = index.create(MAPPING)
    made = list(documents(rng, matrix=matrix))
    began = time.perf_counter()
    for at in range(0, len(made), 5_000):
        index.apply(made[at : at + 5_000], remembered=at, generation=number)
    index.switch(number)
    return time.perf_counter() - began


def question(rng: np.random.Generator, *, vector: npt.NDArray[np.float32], kind: str) -> Query:
    """A query like those people put: a word of any frequency, one or two conditions, near to a vector."""
    conditions = [where("licence", "in", [str(licence) for licence in rng.choice(LICENCES, 2)])]
    if rng.random() < 0.5:
        conditions.append(where("year", ">=", int(rng.integers(-900, 1900))))
    return Query(
        text=words(rng, count=1) if "text" in kind else "",
        filters=tuple(conditions) if "filter" in kind else (),
        near=Near(path="features.vector", vector=vector, version="one") if "near" in kind else None,
    )


def truth(index: SearchIndex, *, query: Query, matrix: npt.NDArray[np.float32]) -> set[str]:
    """The ten nearest of what words and filters leave, by comparing all of it."""
    assert query.near is not None
    left = structs.replace(query, near=None, match=Match.ALL, limit=len(matrix))
    rows = np.array([int(hit.id.removeprefix("image-")) for hit in index.search(left).hits], dtype=np.int64)
    nearest = np.argsort(-(matrix[rows] @ np.asarray(query.near.vector)), kind="stable")[: query.limit]
    return {f"image-{number:07d}" for number in rows[nearest]}


def measure(
    index: SearchIndex, *, matrix: npt.NDArray[np.float32], kind: str, queries: int, judged: int
) -> dict[str, float]:
    """Milliseconds that queries of *kind* take, and the share of the true ten nearest found by those *judged*."""
    rng = np.random.default_rng(7)
    noise = np.float32(0.3 / np.sqrt(matrix.shape[1]))
    took, left, shares = [], [], []
    for number in range(queries):
        vector = matrix[rng.integers(0, len(matrix))] + noise * rng.standard_normal(matrix.shape[1], dtype=np.float32)
        query = question(rng, vector=vector, kind=kind)
        began = time.perf_counter()
        page = index.search(query)
        took.append((time.perf_counter() - began) * 1e3)
        left.append(page.total)
        true = truth(index, query=query, matrix=matrix) if query.near and number < judged else set()
        if true:
            shares.append(len(true & {hit.id for hit in page.hits}) / len(true))
    cuts = statistics.quantiles(took, n=100)
    figures = {"p50_ms": cuts[49], "p95_ms": cuts[94], "p99_ms": cuts[98], "documents_left": statistics.median(left)}
    figures |= {"recall_at_10": statistics.mean(shares)} if shares else {}
    return {name: round(figure, 3) for name, figure in figures.items()}


@contextmanager
def placed(kind: str) -> Iterator[str]:
    """Where an index of a *kind* stands: a folder that is gone afterwards, or a PostgreSQL of its own."""
    if kind == "postgresql":
        with servers("") as at:
            yield at.store
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:{folder}"


def main() -> None:
    """Measure at the size asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--index", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--judged", type=int, default=50)
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    matrix = vectors(rng, count=asked.documents, length=asked.length)
    with placed(asked.index) as url, closing(connect_search(url, name="bench")) as index:
        seconds = fill(index, matrix=matrix, rng=rng)
        kinds = ("text filter near", "filter near", "near", "text filter")
        result = {
            kind: measure(index, matrix=matrix, kind=kind, queries=asked.queries, judged=asked.judged) for kind in kinds
        }
    print(
        json.dumps(
            {
                "work": "I",
                "index": asked.index,
                "documents": asked.documents,
                "length": asked.length,
                "build_s": round(seconds, 1),
                "documents_per_s": round(asked.documents / seconds),
                "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "kinds": result,
            }
        )
    )


if __name__ == "__main__":
    main()
