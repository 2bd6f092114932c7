"""What the SQLite index promises of its files: errors that are errors, and no room for what did not change."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from limner.errors import SearchUnavailable
from limner.search.base import Document, Near, Query
from limner.search.sqlite import SqliteSearch
from tests.search.batches import MAPPING, batch


@pytest.fixture
def broken(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SqliteSearch]:
    """An index of which the file named by the parameter is damaged or gone."""
    index = SqliteSearch(tmp_path)
    index.switch(index.create(MAPPING))
    index.apply(batch(0))
    index.close()
    file, damage = request.param
    if damage == "gone":
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(b"no index at all" * 1000 if damage == "overwritten" else b"")
    index = SqliteSearch(tmp_path)
    yield index
    index.close()


@pytest.mark.parametrize(
    "broken",
    [
        ("generations.sqlite", "overwritten"),
        ("g1/documents.sqlite", "gone"),
        ("g1/documents.sqlite", "overwritten"),
        ("g1/vectors-2.f32", "gone"),
        ("g1/vectors-2.f32", "emptied"),
    ],
    indirect=True,
    ids=" ".join,
)
def test_a_failure_is_never_an_empty_answer(broken: SqliteSearch) -> None:
    """An index that is damaged says that it is unavailable, and the next question finds it so again."""
    near = Near(path="v", vector=np.array([1, 0, 0, 0], dtype=np.float32))
    for _ in range(2):
        with pytest.raises(SearchUnavailable):
            broken.search(Query(near=near))


def test_an_unchanged_document_is_not_written_again(tmp_path: Path) -> None:
    """Putting in what stands there already takes no new room for vectors; a changed word does not either."""
    index = SqliteSearch(tmp_path)
    index.switch(index.create(MAPPING))
    index.apply(batch(0))
    size = (tmp_path / "g1/vectors-2.f32").stat().st_size
    index.apply(batch(0))
    index.apply([Document(id=d.id, vectors=d.vectors, versions=d.versions) for d in batch(0)])
    assert (tmp_path / "g1/vectors-2.f32").stat().st_size == size == 50 * 4 * 4
    assert index.search(Query(text="bread")).total == 0
    index.close()
