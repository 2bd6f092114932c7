"""What an index promises while it is written, over each backend: readers meanwhile, other processes, sudden ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from limner.search.base import Near, Query, SearchIndex
from limner.search.connect import connect_search
from tests.search.batches import MAPPING, Readers, batch, batches_of


@pytest.fixture
def index(url: str) -> Iterator[SearchIndex]:
    """An index whose current generation holds the batch 0."""
    with closing(connect_search(url, name="i")) as index:
        index.switch(index.create(MAPPING))
        index.apply(batch(0), remembered=4)
        yield index


def current(index: SearchIndex) -> int:
    """The number of the generation that answers."""
    return next(generation.number for generation in index.generations() if generation.current)


def test_every_answer_is_of_one_moment_while_documents_change(index: SearchIndex, url: str) -> None:
    """Readers in other threads see each write whole: all its words, values and vectors, or none."""
    with Readers(url) as readers:
        for number in range(5, 30):
            index.apply(batch(number), remembered=number)
    assert readers.wrong == []
    assert readers.answers > 30


def test_every_answer_is_of_one_generation_while_they_are_switched(index: SearchIndex, url: str) -> None:
    """Four clients search while a generation of a new version is filled, switched to, and the old one dropped."""
    with Readers(url) as readers:
        for number in range(1, 12):
            old = current(index)
            new = index.create(MAPPING, versions={"v": f"version {number}"})
            index.apply(batch(number, version=f"version {number}"), generation=new)
            index.switch(new)
            index.switch(old)
            index.switch(new)
            index.drop(old)
    assert readers.wrong == []
    assert readers.answers > 30
    assert batches_of(index.search(Query())) == {11}


WRITER = """
import os, signal, sys
from limner.search.connect import connect_search
from tests.search.batches import batch

def documents():
    yield from batch(1, size=1500)
    os.kill(os.getpid(), signal.SIGKILL)

connect_search(sys.argv[1], name="i").apply(documents(), remembered=5)
"""


def test_a_writer_that_is_killed_leaves_what_was_committed(index: SearchIndex, url: str, repository: Path) -> None:
    """After kill -9 in the middle of a write nothing of it is found, and writing it again makes it whole."""
    ended = subprocess.run(
        [sys.executable, "-c", WRITER, url], cwd=repository, env={**os.environ, "PYTHONPATH": "."}, check=False
    )
    assert ended.returncode == -9
    assert batches_of(index.search(Query(limit=50))) == {0}
    assert index.generations()[0].remembered == 4
    index.apply(batch(2, size=60), remembered=5)
    near = Near(path="v", vector=np.array([np.cos(2), np.sin(2), 0, 0], dtype=np.float32), min_score=0.9999)
    page = index.search(Query(near=near, limit=100))
    assert (len(page.hits), batches_of(page)) == (60, {2})


def test_another_index_reads_what_one_wrote(index: SearchIndex, url: str) -> None:
    """A second one finds what the first has written, and sees a switch without being told."""
    with closing(connect_search(url, name="i")) as other:
        assert batches_of(other.search(Query())) == {0}
        index.apply(batch(1))
        assert batches_of(other.search(Query())) == {1}
        new = index.create(MAPPING)
        index.apply(batch(2), generation=new)
        assert batches_of(other.search(Query())) == {1}
        index.switch(new)
        assert batches_of(other.search(Query())) == {2}


READER = """
import sys
import numpy as np
from limner.search.base import Near, Query
from limner.search.connect import connect_search
from tests.search.batches import batches_of

index = connect_search(sys.argv[1], name="i")
near = Near(path="v", vector=np.array([1, 0, 0, 0], dtype=np.float32))
for _ in sys.stdin:
    page = index.search(Query(near=near))
    print(page.generation, *batches_of(page), flush=True)
index.close()
"""


def test_another_process_reads_a_new_generation(index: SearchIndex, url: str, repository: Path) -> None:
    """A process that reads goes over to a new generation with the first question after the switch."""
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, url],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": "."},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def asked() -> list[int]:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write("\n")
        reader.stdin.flush()
        return [int(word) for word in reader.stdout.readline().split()]

    with reader:
        old = current(index)
        assert asked() == [old, 0]
        new = index.create(MAPPING, versions={"v": "two"})
        index.apply(batch(7, version="two"), generation=new)
        assert asked() == [old, 0]
        index.switch(new)
        assert asked() == [new, 7]
        index.drop(old)
        assert asked() == [new, 7]
        assert reader.stdin is not None
        reader.stdin.close()
    assert reader.returncode == 0


def test_a_generation_dropped_elsewhere_is_let_go_of(index: SearchIndex, url: str) -> None:
    """A reader that held a generation which another process dropped answers from the current one."""
    with closing(connect_search(url, name="i")) as other:
        assert batches_of(other.search(Query())) == {0}
        old = current(index)
        index.switch(index.create(MAPPING))
        index.apply(batch(1))
        index.drop(old)
        assert batches_of(other.search(Query())) == {1}
        assert [generation.documents for generation in other.generations()] == [50]
