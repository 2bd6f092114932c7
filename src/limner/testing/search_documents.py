"""Documents and queries that the contract of search is tested with."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import structs

from limner.search.base import Document, Near, Query, SearchIndex
from limner.search.mapping import FilterKind, Mapping

MAPPING = Mapping(
    text={"title": 500.0, "parent.title": 10.0, "notes": 1.0},
    filters={
        "licence": FilterKind.ANY,
        "sharpness.word": FilterKind.WORD,
        "sharpness.number": FilterKind.NUMBER,
        "sharpness.flag": FilterKind.FLAG,
        "dates": FilterKind.NUMBER,
    },
    vectors={"features.vector": 3, "palette.vector": None},
)
FEATURES = "features.vector"


def document(
    id: str,
    *,
    vector: Sequence[float] | None = None,
    version: str = "one",
    text: dict[str, str | list[str]] | None = None,
    complete: bool = True,
    **filters: object,
) -> Document:
    """A document; *filters* are named with __ for a dot."""
    return Document(
        id=id,
        text=text or {},
        filters={name.replace("__", "."): value for name, value in filters.items()},  # type: ignore[misc]  # tests also give what is refused
        vectors={FEATURES: numbers(vector)} if vector is not None else {},
        versions={FEATURES: version} if vector is not None else {},
        complete=complete,
    )


def numbers(values: Sequence[float]) -> npt.NDArray[np.float32]:
    """*values* as a vector."""
    return np.array(values, dtype=np.float32)


def ids(index: SearchIndex, query: Query) -> list[str]:
    """The ids that *query* finds, in order."""
    return [hit.id for hit in index.search(query).hits]


def filled(index: SearchIndex, documents: Sequence[Document], *, mapping: Mapping = MAPPING) -> int:
    """A current generation that holds *documents*."""
    number = index.create(mapping)
    index.apply(documents, generation=number)
    index.switch(number)
    return number


def near(*vector: float, **options: object) -> Near:
    """Likeness to *vector* at the path of features."""
    return structs.replace(Near(path=FEATURES, vector=numbers(vector)), **options)
