"""PostgreSQL keeps the contract of the store; of several processes on one schema one leads."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from limner.domain.records import RecordIn
from limner.errors import ConfigurationError, StoreUnavailable
from limner.store.connect import connect_store
from limner.store.dialect import Leadership, open_engine
from limner.store.store import Store
from limner.testing.store_contract import StoreContract
from tests.store.databases import schema_url, store_on
from tools.services import free_port


@pytest.fixture
def server(require_service: Callable[[str], str]) -> str:
    """The URL of a running server."""
    return require_service("postgresql")


class TestPostgreSQLStore(StoreContract):
    """All of the contract."""

    @pytest.fixture
    def store(self, server: str) -> Iterator[Store]:
        """An empty store."""
        with store_on(server) as made:
            yield made


def _lose_the_connection(store: Store, server: str) -> None:
    """Write in a transaction whose connection the server ends meanwhile, as its restart does."""
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with store.transaction() as tx:
        tx.records.collection("things")
        mine = tx.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:mine, 5000)"), {"mine": mine})
        tx.records.collection("others")


def test_schemas_of_one_database_are_stores_of_their_own(server: str) -> None:
    """What is written to one is not in the other."""
    with store_on(server) as one, store_on(server) as other:
        with one.transaction() as tx:
            tx.records.take_in([RecordIn(collection="things", id="a", fields={})])

        with other.reading() as tx:
            assert tx.records.find_collection("things") is None


def test_who_would_lead_is_told_that_nobody_answers() -> None:
    """A server that is away, as while it starts again, is told as something to try again."""
    leadership = Leadership(open_engine(f"postgresql://limner@127.0.0.1:{free_port()}/limner"))

    with pytest.raises(StoreUnavailable):
        leadership.take()


def test_one_process_leads_until_its_connection_ends(server: str) -> None:
    """The lock is the connection's: where that is cut, somebody else may lead, and the first one notices."""
    with schema_url(server) as url:
        first, second = connect_store(url), connect_store(url)
        try:
            led = [first.leadership.take(), second.leadership.take(), first.leadership.take()]
            first.leadership.release()
            then = [second.leadership.take(), first.leadership.take()]
        finally:
            for store in (first, second):
                store.leadership.release()
                store.close()

    assert (led, then) == ([True, False, True], [True, False])


def test_connections_that_the_server_ended_are_replaced(server: str) -> None:
    """After a restart of the server the next transaction goes on; one under way fails as a sentence."""
    with store_on(server) as store:
        with pytest.raises(StoreUnavailable, match="The store refused"):
            _lose_the_connection(store, server)

        with store.transaction() as tx:
            assert tx.records.find_collection("things") is None


def test_schema_that_is_no_name_is_refused(server: str) -> None:
    """The sentence says what a name may hold."""
    with pytest.raises(ConfigurationError, match="no name of a schema"):
        connect_store(f"{server}?schema=a-b;drop")


def test_server_that_is_not_there_is_named() -> None:
    """A store that cannot be reached is a sentence, no traceback."""
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        connect_store(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
