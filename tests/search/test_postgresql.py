"""What the PostgreSQL index promises beyond the contract: lost connections, rights, several writers, long values."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import numpy as np
import psycopg
import pytest

from limner.domain.reads import where
from limner.errors import ConfigurationError, SearchUnavailable
from limner.search.base import Document, Near, Query, SearchIndex
from limner.search.connect import connect_search
from limner.search.mapping import FilterKind, Mapping
from limner.search.postgresql import PostgresqlSearch
from tests.search.batches import MAPPING, batch, batches_of
from tests.search.databases import index_url
from tools.services import free_port


@pytest.fixture
def server(require_service: Callable[[str], str]) -> str:
    """The URL of a running server."""
    return require_service("postgresql")


@pytest.fixture
def index(postgresql_url: str, mine: str) -> Iterator[SearchIndex]:
    """An index whose current generation holds the batch 0."""
    with closing(connect_search(f"{postgresql_url}&application_name={mine}", name="i")) as index:
        index.switch(index.create(MAPPING))
        index.apply(batch(0))
        yield index


@pytest.fixture
def mine() -> str:
    """The name of the index's connections, since other tests use the server at the same time."""
    return uuid.uuid4().hex


def end_connections(server: str, name: str) -> int:
    """Have the server end every connection called *name*, as its restart does; how many there were."""
    with psycopg.connect(server) as connection:
        sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
        return len(connection.execute(sql, (name,)).fetchall())


def test_queries_go_on_after_a_lost_connection(index: SearchIndex, server: str, mine: str) -> None:
    """A connection that the server ended between two questions is replaced, and nobody notices."""
    assert batches_of(index.search(Query())) == {0}
    assert end_connections(server, mine) > 0
    assert batches_of(index.search(Query())) == {0}
    end_connections(server, mine)
    index.apply(batch(1))
    assert batches_of(index.search(Query())) == {1}


def test_a_write_that_loses_its_connection_changes_nothing(index: SearchIndex, server: str, mine: str) -> None:
    """The writer is told that the index is unavailable; doing it again makes it whole."""

    def documents() -> Iterator[Document]:
        yield from batch(1, size=1500)
        end_connections(server, mine)

    with pytest.raises(SearchUnavailable, match=r"postgresql://"):
        index.apply(documents(), remembered=3)
    assert batches_of(index.search(Query(limit=50))) == {0}
    index.apply(batch(1), remembered=3)
    assert batches_of(index.search(Query(limit=50))) == {1}


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """Asking, looking and making are all refused in a sentence that says where, and tells no secret."""
    url = f"postgresql://somebody:secret@127.0.0.1:{free_port()}/nowhere"
    with closing(connect_search(url, name="i")) as index:
        for ask in (index.generations, lambda: index.search(Query()), lambda: index.create(MAPPING)):
            with pytest.raises(SearchUnavailable, match=r"postgresql://127\.0\.0\.1") as refused:
                ask()
            assert "secret" not in str(refused.value)


@pytest.mark.parametrize("rest", ["?schema=Robert'); DROP", "?nonsense=1"])
def test_an_address_that_means_nothing_is_a_configuration_error(rest: str) -> None:
    """The sentence names the setting."""
    with pytest.raises(ConfigurationError, match="index"):
        connect_search(f"postgresql://limner@127.0.0.1/db{rest}", name="i")


@contextmanager
def somebody(server: str) -> Iterator[str]:
    """A user of *server* who may make nothing; their name."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN".encode())
        try:
            yield name
        finally:
            connection.execute(f"DROP OWNED BY {name}".encode())
            connection.execute(f"DROP ROLE {name}".encode())


def test_who_may_make_no_schema_uses_one_that_was_made(server: str) -> None:
    """Without the right it says what an administrator must do; once that is done, the index is built and answers."""
    with index_url(server) as url, somebody(server) as name:
        theirs = url.replace("limner@", f"{name}@")
        schema = f"{url.rpartition('=')[2]}_search"
        with closing(connect_search(theirs, name="i")) as index:
            with pytest.raises(SearchUnavailable, match=f"CREATE SCHEMA {schema}"):
                index.create(MAPPING)
            with psycopg.connect(server) as connection:
                connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {name}".encode())
            index.switch(index.create(MAPPING))
            index.apply(batch(3))
            assert batches_of(index.search(Query())) == {3}


def test_writers_wait_for_each_other(index: SearchIndex, postgresql_url: str) -> None:
    """Several processes that write at a time lose nothing and share no slot."""
    mapping, size = Mapping(filters={"who": FilterKind.WORD}, vectors={"v": 2}), 40
    index.switch(index.create(mapping))

    def write(who: str) -> None:
        with closing(connect_search(postgresql_url, name="i")) as own:
            for at in range(size):
                vector = np.array([1, at], dtype=np.float32)
                own.apply(
                    [Document(id=f"{who}{at}", filters={"who": who}, vectors={"v": vector}, versions={"v": "one"})]
                )

    threads = [threading.Thread(target=write, args=(who,)) for who in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    near = Near(path="v", vector=np.array([1, 7], dtype=np.float32), min_score=0.9999999)
    assert [hit.id for hit in index.search(Query(near=near)).hits] == ["a7", "b7", "c7"]
    assert index.search(Query(filters=(where("who", "==", "b"),))).total == size


def test_two_that_begin_at_once_share_one_list(postgresql_url: str) -> None:
    """Where no index was ever made, several processes may make the first one at a time."""
    numbers: list[int] = []
    begin = threading.Barrier(4)

    def make() -> None:
        with closing(connect_search(postgresql_url, name="i")) as own:
            begin.wait()
            numbers.append(own.create(MAPPING))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(connect_search(postgresql_url, name="i")) as index:
        assert [generation.number for generation in index.generations()] == sorted(numbers)
    assert len(numbers) == 4


def test_indexes_of_one_schema_and_of_two_are_apart(server: str, postgresql_url: str) -> None:
    """Another name, or another project's schema, is another index."""
    with index_url(server) as elsewhere:
        places = [(postgresql_url, "i"), (postgresql_url, "j"), (elsewhere, "i")]
        for number, (url, name) in enumerate(places):
            with closing(connect_search(url, name=name)) as index:
                assert index.generations() == []
                index.switch(index.create(MAPPING))
                index.apply(batch(number))
        for number, (url, name) in enumerate(places):
            with closing(connect_search(url, name=name)) as index:
                assert batches_of(index.search(Query())) == {number}


def test_long_values_are_compared_whole(index: SearchIndex) -> None:
    """Words of a hundred thousand letters, alike for most of them, are stored, compared, ordered and counted."""
    long = "x" * 100_000
    index.switch(index.create(Mapping(filters={"f": FilterKind.WORD})))
    index.apply(
        [Document(id=end, filters={"f": long + end}) for end in "cab"] + [Document(id="short", filters={"f": "x"})]
    )
    assert [hit.id for hit in index.search(Query(order="f")).hits] == ["short", "a", "b", "c"]
    for compare, found in (("==", ["b"]), (">", ["c"]), ("<=", ["a", "b", "short"]), ("in", ["b"])):
        value: object = [long + "b"] if compare == "in" else long + "b"
        page = index.search(Query(filters=(where("f", compare, value),), facets=("f",)))
        assert [hit.id for hit in page.hits] == found
        assert {str(count.value)[-1] for count in page.facets["f"]} == {"a", "b", "c", "x"}


def test_every_word_of_a_long_text_is_found(index: SearchIndex) -> None:
    """Of fifty thousand words each is found, and a phrase too where the database's rows of words meet."""
    index.switch(index.create(Mapping(text={"t": 1.0})))
    words = [f"w{at}x" for at in range(50_000)]
    huge = "y" * 5_000
    index.apply([Document(id="long", text={"t": " ".join(words)}), Document(id="wide", text={"t": f"{huge}z stone"})])
    for text in ("w0x", "w3999x", "w4000x", "w49999x", "w3998x-w3999x-w4000x-w4001x", "w7999x/w8000x"):
        assert [hit.id for hit in index.search(Query(text=text)).hits] == ["long"], text
    assert index.search(Query(text="w3999x-w4001x")).total == 0
    assert [hit.id for hit in index.search(Query(text=f"{huge}z")).hits] == ["wide"]
    assert index.search(Query(text=f"{huge}q")).total == 0


def test_a_graph_that_one_grew_is_asked_by_another(postgresql_url: str) -> None:
    """A reader copies the writer's graph and what came after it, and finds with both; it removes its copies."""
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal((1_500, 8)).astype(np.float32)
    documents = [Document(id=f"{at:04}", vectors={"v": row}, versions={"v": "one"}) for at, row in enumerate(matrix)]
    with (
        closing(PostgresqlSearch(postgresql_url, name="i", graph_from=1_000, threads=1)) as writer,
        closing(PostgresqlSearch(postgresql_url, name="i")) as reader,
    ):
        writer.switch(writer.create(Mapping(vectors={"v": None})))
        for first in (0, 1_200):
            writer.apply(documents[first : 1_200 if first == 0 else None])
        for at in (3, 700, 1_450):
            page = reader.search(Query(near=Near(path="v", vector=matrix[at]), limit=3))
            assert page.hits[0].id == f"{at:04}"
        held = reader.folders()
        assert [sorted(file.name for file in folder.iterdir()) for folder in held] == [
            ["vectors-1-1200.graph", "vectors-1.f32"]
        ]
    assert not any(folder.exists() for folder in held)


def test_a_copy_is_made_of_what_a_question_needs(index: SearchIndex) -> None:
    """Words and conditions are answered without a copy of any vector."""
    assert isinstance(index, PostgresqlSearch)
    index.search(Query(text="bread", filters=(where("batch", "==", 0),), facets=("batch",)))
    assert index.folders() == []
    index.search(Query(near=Near(path="v", like="d0001")))
    [folder] = index.folders()
    assert [file.name for file in folder.iterdir()] == ["vectors-2.f32"]


def test_an_index_that_is_only_asked_for_leaves_nothing(postgresql_url: str, server: str) -> None:
    """Looking for an index that was never built makes no schema."""
    with closing(connect_search(postgresql_url, name="i")) as index:
        assert index.generations() == []
    with psycopg.connect(server) as connection:
        name = f"{postgresql_url.rpartition('=')[2]}_search"
        assert connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (name,)).fetchall() == []
