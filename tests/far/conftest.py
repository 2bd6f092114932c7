"""What the tests of far workers share: a server that infers nothing itself, and a consumer that it knows."""

from collections.abc import Iterator

import pytest

from tests.far.consumer import Consumer
from tests.far.rig import Server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose own process infers nothing; each test leaves it without open work."""
    with Server(tmp_path_factory.mktemp("server") / "project") as served:
        yield served


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """The server, with records of this test's own, and nothing open after it."""
    yield shared
    with shared.host.store.reading() as tx:
        left = [job.id for job in tx.jobs.open()]
    for job in left:
        shared.host.cancel(job)


@pytest.fixture
def consumer(server: Server) -> Consumer:
    """A consumer that has said hello."""
    made = Consumer(server)
    assert made.hello()["told"] == []
    return made
