"""Predictions in SQLite and PostgreSQL keep the contract of every prediction table."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from limner.clock import MovedClock
from limner.errors import ConfigurationError, StoreUnavailable
from limner.settings import Project, Settings
from limner.store.dialect import open_engine
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.predictions.base import PredictionTable
from limner.systems.ersilia.predictions.connect import connect_predictions, predictions_url
from limner.systems.ersilia.predictions.tables import facts
from tests.store.databases import schema_url
from tests.systems.ersilia.prediction_table_contract import (
    PredictionTableContract,
    key_of,
    prediction_of,
    release_of,
)


class TestSqlitePredictions(PredictionTableContract):
    """All of the contract, over a file."""

    @pytest.fixture
    def table(self, clock: MovedClock, tmp_path: Path) -> Iterator[PredictionTable]:
        """A table in a file that does not exist yet."""
        made = connect_predictions(f"sqlite:///{tmp_path}/predictions.db", clock=clock)
        yield made
        made.close()


class TestPostgresqlPredictions(PredictionTableContract):
    """All of the contract, over a schema."""

    @pytest.fixture
    def table(self, clock: MovedClock, require_service: Callable[[str], str]) -> Iterator[PredictionTable]:
        """A table in a schema that does not exist yet."""
        with schema_url(require_service("postgresql")) as url:
            made = connect_predictions(url, clock=clock)
            yield made
            made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, require_service: Callable[[str], str]) -> Iterator[str]:
    """A place where no table is yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/predictions.db"
        return
    with schema_url(require_service("postgresql")) as made:
        yield made


def test_several_write_at_once(url: str) -> None:
    """Four that open the table by themselves and write the same keys in different orders get through, once each."""
    tables = [connect_predictions(url) for _ in range(4)]
    tables[0].begin(release_of(), scheme=KeyScheme.INCHIKEY)
    rows = [prediction_of(n) for n in range(1200)]
    outcomes: list[int] = []

    def write(table: PredictionTable, first: int) -> None:
        outcomes.append(table.write(release_of(), rows[first:] + rows[:first]).new)

    threads = [threading.Thread(target=write, args=(table, 300 * n)) for n, table in enumerate(tables)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(outcomes) == 1200
    assert len(outcomes) == 4
    assert tables[3].count("eos3b5e", release_of().version) == 1200
    for table in tables:
        table.close()


def test_a_table_opens_again(url: str) -> None:
    """Another process finds all that was written."""
    first = connect_predictions(url)
    first.begin(release_of(), scheme=KeyScheme.INCHIKEY)
    first.write(release_of(), [prediction_of(1)])
    first.close()

    second = connect_predictions(url)

    assert second.scheme() is KeyScheme.INCHIKEY
    assert second.read("eos3b5e", release_of().version, [key_of(1)]) == {key_of(1): prediction_of(1)}
    second.close()


def test_a_newer_table_is_left_alone(tmp_path: Path) -> None:
    """A table that a newer Limner made is not read as if it were an old one."""
    url = f"sqlite:///{tmp_path}/predictions.db"
    connect_predictions(url).close()
    engine = open_engine(url)
    with engine.connect() as connection:
        connection.execute(update(facts).values(format=99))
        connection.commit()
    engine.dispose()

    with pytest.raises(StoreUnavailable, match="newer Limner"):
        connect_predictions(url)


def test_unknown_kinds_name_the_known(tmp_path: Path) -> None:
    """A URL that no table speaks is answered with those that are spoken."""
    with pytest.raises(ConfigurationError, match="sqlite:///PATH"):
        connect_predictions("mongodb://there")


def test_a_project_keeps_them_beside_its_store(tmp_path: Path) -> None:
    """On a file system a file; on a server a schema beside the store's, so that neither waits for the other."""
    plain = Project(folder=tmp_path, settings=Settings())
    server = Project(folder=tmp_path, settings=Settings(store="postgresql://me@host/db?schema=limner_moths"))

    assert predictions_url(plain) == f"sqlite:///{tmp_path}/.limner/predictions.db"
    assert predictions_url(server) == "postgresql://me@host/db?schema=limner_moths_predictions"


@pytest.mark.timed
def test_five_thousand_keys_take_a_fraction_of_a_second(tmp_path: Path) -> None:
    """5,000 keys out of 20,000 are read in less than half a second."""
    table = connect_predictions(f"sqlite:///{tmp_path}/predictions.db")
    table.begin(release_of(), scheme=KeyScheme.INCHIKEY)
    for first in range(0, 20_000, 5000):
        table.write(release_of(), [prediction_of(n) for n in range(first, first + 5000)])

    began = time.perf_counter()
    found = table.read("eos3b5e", release_of().version, [key_of(4 * n) for n in range(5000)])
    took = time.perf_counter() - began

    assert len(found) == 5000
    assert took < 0.5, f"{took:.2f} s"
    table.close()
