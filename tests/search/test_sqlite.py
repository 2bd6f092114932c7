"""What the SQLite index promises beyond the contract: readers meanwhile, sudden ends, and errors that are errors."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from limner.errors import SearchUnavailable
from limner.search.base import Document, Near, Page, Query
from limner.search.mapping import FilterKind, Mapping
from limner.search.sqlite import SqliteSearch

MAPPING = Mapping(text={"title": 1.0}, filters={"batch": FilterKind.NUMBER}, vectors={"v": 4})


def batch(number: int, *, size: int = 50, version: str = "one") -> list[Document]:
    """*size* documents that say which batch they are of; their vectors say it too."""
    vector = np.array([np.cos(number), np.sin(number), 0, 0], dtype=np.float32)
    return [
        Document(
            id=f"d{at:04}",
            text={"title": f"bread batch{number}"},
            filters={"batch": number},
            vectors={"v": vector},
            versions={"v": version},
        )
        for at in range(size)
    ]


def batches_of(page: Page) -> set[object]:
    """The batches that the hits of *page* say they are of."""
    return {hit.fields["batch"] for hit in page.hits}


class Readers:
    """Threads that ask until told to stop, and keep what went wrong."""

    def __init__(self, folder: Path, *, count: int = 4) -> None:
        self.wrong: list[object] = []
        self.answers = 0
        self._stop = threading.Event()
        self._index = SqliteSearch(folder)
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._index.close()

    def _ask(self) -> None:
        near = Near(path="v", vector=np.array([1, 0, 0, 0], dtype=np.float32))
        while not self._stop.is_set():
            for query in (Query(limit=50), Query(text="bread", limit=50), Query(near=near, limit=50)):
                try:
                    page = self._index.search(query)
                    scores = {hit.score for hit in page.hits} if query.near else set()
                    if page.total != 50 or len(batches_of(page)) != 1 or len(scores) > 1:
                        self.wrong.append((query, page))
                except Exception as error:  # noqa: BLE001  # whatever it is, the test must tell it
                    self.wrong.append(error)
                self.answers += 1


def test_every_answer_is_of_one_moment_while_documents_change(tmp_path: Path) -> None:
    """Readers in other threads see each write whole: all its words, values and vectors, or none."""
    index = SqliteSearch(tmp_path)
    index.switch(index.create(MAPPING))
    index.apply(batch(0))
    with Readers(tmp_path) as readers:
        for number in range(1, 30):
            index.apply(batch(number), remembered=number)
    assert readers.wrong == []
    assert readers.answers > 30
    index.close()


def test_every_answer_is_of_one_generation_while_they_are_switched(tmp_path: Path) -> None:
    """Four clients search while a generation of a new version is filled, switched to, and the old one dropped."""
    index = SqliteSearch(tmp_path)
    index.switch(index.create(MAPPING))
    index.apply(batch(0))
    with Readers(tmp_path) as readers:
        for number in range(1, 12):
            old = next(generation.number for generation in index.generations() if generation.current)
            new = index.create(MAPPING, versions={"v": f"version {number}"})
            index.apply(batch(number, version=f"version {number}"), generation=new)
            index.switch(new)
            index.switch(old)
            index.switch(new)
            index.drop(old)
    assert readers.wrong == []
    assert readers.answers > 30
    assert batches_of(index.search(Query())) == {11}
    index.close()


WRITER = """
import os, sys
from pathlib import Path
from limner.search.sqlite import SqliteSearch
from tests.search.test_sqlite import batch

def documents():
    yield from batch(1, size=1500)
    os._exit(9)

SqliteSearch(Path(sys.argv[1])).apply(documents(), remembered=5)
"""


def test_a_writer_that_ends_suddenly_leaves_what_was_committed(tmp_path: Path, repository: Path) -> None:
    """After kill -9 in the middle of a write nothing of it is found, and writing it again makes it whole."""
    index = SqliteSearch(tmp_path)
    index.switch(index.create(MAPPING))
    index.apply(batch(0), remembered=4)
    ended = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": "."},
        check=False,
    )
    assert ended.returncode == 9
    assert batches_of(index.search(Query(limit=50))) == {0}
    assert index.generations()[0].remembered == 4
    index.apply(batch(2, size=60), remembered=5)
    near = Near(path="v", vector=np.array([np.cos(2), np.sin(2), 0, 0], dtype=np.float32), min_score=0.9999)
    page = index.search(Query(near=near, limit=100))
    assert (len(page.hits), batches_of(page)) == (60, {2})
    index.close()


def test_another_process_reads_what_one_wrote(tmp_path: Path, repository: Path) -> None:
    """A second process finds what the first has written, and sees a switch without being told."""
    index = SqliteSearch(tmp_path)
    other = SqliteSearch(tmp_path)
    index.switch(index.create(MAPPING))
    index.apply(batch(0))
    assert batches_of(other.search(Query())) == {0}
    index.apply(batch(1))
    assert batches_of(other.search(Query())) == {1}
    new = other.create(MAPPING)
    other.apply(batch(2), generation=new)
    other.switch(new)
    assert batches_of(index.search(Query())) == {2}
    asked = "import sys; from pathlib import Path; from limner.search.sqlite import SqliteSearch; "
    asked += "from limner.search.base import Query; print(SqliteSearch(Path(sys.argv[1])).search(Query()).total)"
    printed = subprocess.run(
        [sys.executable, "-c", asked, str(tmp_path)], cwd=repository, capture_output=True, check=True
    )
    assert printed.stdout.strip() == b"50"
    index.close()
    other.close()


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


def test_a_generation_dropped_elsewhere_is_let_go_of(tmp_path: Path) -> None:
    """A reader that held a generation which another process dropped answers from the current one."""
    index, other = SqliteSearch(tmp_path), SqliteSearch(tmp_path)
    index.switch(index.create(MAPPING))
    index.apply(batch(0))
    assert batches_of(other.search(Query())) == {0}
    index.switch(index.create(MAPPING))
    index.apply(batch(1))
    index.drop(1)
    assert batches_of(other.search(Query())) == {1}
    index.close()
    other.close()


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
