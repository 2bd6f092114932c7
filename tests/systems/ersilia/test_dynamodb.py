"""Predictions in DynamoDB: the contract of every table, the items that others read, and a service that is not well."""

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import pytest

from limner.clock import MovedClock
from limner.domain.failures import FailureCode
from limner.errors import ConfigurationError, StoreUnavailable
from limner.systems.ersilia.columns import Column, ColumnType
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.predictions.base import PredictionTable, Written
from limner.systems.ersilia.predictions.connect import connect_predictions
from limner.systems.ersilia.predictions.publisher import publish
from tests.systems.ersilia.prediction_table_contract import (
    AWKWARD,
    PredictionTableContract,
    failure_of,
    key_of,
    prediction_of,
    release_of,
)
from tests.systems.ersilia.published import Made, facts_of, publication_of
from tests.systems.ersilia.simulated_cloud import REGION, client_of, new_table, simulated_cloud
from tests.systems.ersilia.unwell import Unwell, unwell_table

if TYPE_CHECKING:
    pass

VERSION = release_of().version


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    """The address of a simulated cloud."""
    with simulated_cloud() as endpoint:
        yield endpoint


@pytest.fixture
def url(cloud: str) -> str:
    """The address of an empty table."""
    return new_table(cloud)


class TestDynamoPredictions(PredictionTableContract):
    """All of the contract, over a table of a simulated service."""

    keeps_versions = False
    many = 300

    @pytest.fixture
    def table(self, clock: MovedClock, url: str) -> Iterator[PredictionTable]:
        """An empty table."""
        made = connect_predictions(url, clock=clock)
        yield made
        made.close()


def test_e11_dynamodb_writer_gets_everything_through(url: str) -> None:
    """Throttled and left with items, it writes all of them: 25 a call at most, no key twice, every float to the bit."""
    client = Unwell(url)
    pauses: list[float] = []
    table = unwell_table(url, client, pauses=pauses)
    table.begin(release_of(), scheme=KeyScheme.INCHIKEY)
    luck = random.Random(3)
    rows = [prediction_of(n, luck.uniform(-1, 1) * 10 ** luck.randint(-100, 100)) for n in range(300)]
    rows += [prediction_of(1000 + n, value) for n, value in enumerate(AWKWARD)]

    written = table.write(release_of(), rows + rows[:50])

    assert written == Written(new=len(rows))
    found = connect_predictions(url).read("eos3b5e", VERSION, [row.key for row in rows])
    assert {key: one.values for key, one in found.items()} == {row.key: row.values for row in rows}
    assert max(size for kind, size in client.calls if kind == "write") == 25
    assert len(pauses) > 10
    assert max(pauses) <= 10


def test_what_is_throttled_to_the_end_costs_itself(url: str) -> None:
    """An item that never gets through is told as throttled after many tries, and its neighbours are written."""
    client = Unwell(url, throttled=0, left=0, never=frozenset({("write", f"INPUTKEY#{key_of(3)}")}))
    pauses: list[float] = []
    table = unwell_table(url, client, pauses=pauses)
    table.begin(release_of(), scheme=KeyScheme.INCHIKEY)

    written = table.write(release_of(), [prediction_of(n) for n in range(30)])

    assert (written.new, list(written.refused)) == (29, [key_of(3)])
    why = written.refused[key_of(3)]
    assert (why.code, why.reason) == (FailureCode.ATTEMPTS_EXHAUSTED, "throttled")
    assert len(pauses) >= 10
    assert len(connect_predictions(url).read("eos3b5e", VERSION, [key_of(n) for n in range(30)])) == 29


def test_a_look_up_that_is_throttled_to_the_end_says_so(url: str) -> None:
    """A look-up never takes what it could not read for missing."""
    connect_predictions(url).begin(release_of(), scheme=KeyScheme.INCHIKEY)
    table = unwell_table(url, Unwell(url, throttled=1), pauses=[])

    with pytest.raises(StoreUnavailable, match="throttled"):
        table.read("eos3b5e", VERSION, [key_of(1)])


def test_e12_items_are_those_that_the_original_reads(url: str) -> None:
    """Key, model, SMILES, values as numbers and time are where its readers look, whatever stands beside."""
    columns = [
        Column(name="weight", type=ColumnType.FLOAT),
        Column(name="rings", type=ColumnType.INTEGER),
        Column(name="class", type=ColumnType.STRING),
        Column(name="charge", type=ColumnType.FLOAT),
    ]
    release = release_of(columns=columns)
    table = connect_predictions(url, clock=MovedClock(start=1_700_000_000.9))
    table.begin(release, scheme=KeyScheme.INCHIKEY)
    table.write(release, [prediction_of(1, 283.239, 2, "soluble", None), failure_of(2)])

    asked = urlsplit(url)
    endpoint = client_of(url).meta.endpoint_url
    reader = boto3.resource("dynamodb", region_name=REGION, endpoint_url=endpoint).Table(asked.netloc)
    item = reader.get_item(Key={"PK": f"INPUTKEY#{key_of(1)}", "SK": "MODELID#eos3b5e"})["Item"]
    failed = reader.get_item(Key={"PK": f"INPUTKEY#{key_of(2)}", "SK": "MODELID#eos3b5e"})["Item"]

    assert item == {
        "PK": f"INPUTKEY#{key_of(1)}",
        "SK": "MODELID#eos3b5e",
        "Smiles": "CC",
        "Precalculation": [Decimal("283.239"), Decimal(2), "soluble", None],
        "Timestamp": "1700000000",
        "Version": release.version,
        "Job": "job-1",
        "Record": f"{1:032x}",
    }
    assert failed["Precalculation"] == []
    assert failed["Failure"] == {
        "Code": "OUTPUT_INVALID",
        "Reason": "no_output",
        "Message": "no_output: the model said nothing.",
    }


@pytest.mark.parametrize("value", [1e-131, -1e-200, 1e126, 1.7e308])
def test_numbers_beyond_the_service_are_set_aside(url: str, value: float) -> None:
    """A float that the service cannot hold is refused before it is sent; its neighbours are written."""
    table = connect_predictions(url)
    table.begin(release_of(), scheme=KeyScheme.INCHIKEY)

    written = table.write(release_of(), [prediction_of(1), prediction_of(2, value), prediction_of(3, 9.9e125)])

    assert written.new == 2
    why = written.refused[key_of(2)]
    assert (why.code, why.reason) == (FailureCode.OUTPUT_INVALID, "not_representable")


def test_an_item_beyond_the_limit_is_set_aside(url: str) -> None:
    """An item of more than 400 kB is refused before it is sent; a smaller one is written."""
    columns = [Column(name="a", type=ColumnType.STRING), Column(name="b", type=ColumnType.FLOAT)]
    release = release_of(columns=columns)
    table = connect_predictions(url)
    table.begin(release, scheme=KeyScheme.INCHIKEY)

    written = table.write(release, [prediction_of(1, "x" * 409_700, 1.0), prediction_of(2, "x" * 400_000, 1.0)])

    assert written.new == 1
    why = written.refused[key_of(1)]
    assert (why.code, why.reason) == (FailureCode.OUTPUT_TOO_LARGE, "item_too_large")
    assert "409,600" in why.message


def test_a_count_goes_through_every_page(url: str) -> None:
    """More than a page of items are counted to the last one: the service ends a page at a megabyte."""
    columns = [Column(name="text", type=ColumnType.STRING)]
    release = release_of(columns=columns)
    table = connect_predictions(url)
    table.begin(release, scheme=KeyScheme.INCHIKEY)
    table.write(release, [prediction_of(n, "x" * 60_000) for n in range(40)])
    pages = client_of(url).scan(TableName=urlsplit(url).netloc, Select="COUNT")

    assert "LastEvaluatedKey" in pages
    assert table.count("eos3b5e", release.version) == 40


@pytest.mark.parametrize(
    "asked", ["dynamodb://", "dynamodb://t?colour=red", "dynamodb://key:secret@t", "dynamodb://t/x"]
)
def test_an_address_that_names_no_table_is_refused(asked: str) -> None:
    """One sentence says how a table is named."""
    with pytest.raises(ConfigurationError, match="dynamodb://TABLE"):
        connect_predictions(asked)


def test_a_table_that_is_not_there_is_told(cloud: str) -> None:
    """Neither reading nor writing takes a table that does not exist for an empty one."""
    table = connect_predictions(f"dynamodb://nowhere?region={REGION}&endpoint_url={cloud}")

    with pytest.raises(ConfigurationError, match="no table nowhere"):
        table.begin(release_of(), scheme=KeyScheme.INCHIKEY)
    with pytest.raises(ConfigurationError, match="no table nowhere"):
        table.read("eos3b5e", VERSION, [key_of(1)])


def test_a_service_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers, the sentence says so, and asking again is safe."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    table = connect_predictions(f"dynamodb://t?region={REGION}&endpoint_url=http://127.0.0.1:1")

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        table.scheme()


@pytest.mark.slow
def test_a_job_goes_to_dynamodb_by_several_processes(url: str, tmp_path: Path) -> None:
    """A job's batches are written by several writers, repeats of an earlier job are not written again."""
    made = Made(rows_each=20, count=80, failed=(7,), slow=0.3)

    published = publish(publication_of(made, table=tmp_path / "p.db", places=[url]), workers=2)
    again = publish(publication_of(made, table=tmp_path / "p.db", places=[url], facts=facts_of(made, job="job-2")))

    name = f"predictions in dynamodb://{urlsplit(url).netloc}"
    assert (published.places[name].new, again.places[name].same, again.places[name].new) == (79, 79, 0)
    assert len({worker for worker, *_ in published.places[name].spans}) == 2
    table = connect_predictions(url)
    found = table.read("eos3b5e", VERSION, [key_of(n) for n in range(80)])
    assert [found[key_of(n)].values for n in range(80)] == [None if n == 7 else (n / 7,) for n in range(80)]
    assert [shelf.complete for shelf in table.shelves()] == [True]
    assert table.count("eos3b5e", VERSION) == 79
