"""What went wrong in the original's serving, and must not here; each test is named for the defect."""

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from limner.settings import Project, Settings
from limner.systems.ersilia.columns import Column, ColumnType
from limner.systems.ersilia.nouns import KeyScheme, Prediction
from limner.systems.ersilia.predictions.connect import connect_files, connect_predictions, predictions_url
from limner.systems.ersilia.predictions.publish_given import publish_given
from limner.systems.ersilia.predictions.publisher import publish
from tests.artifacts.stores import below
from tests.systems.ersilia.prediction_table_contract import key_of, prediction_of, release_of
from tests.systems.ersilia.published import Given, Made, facts_of, publication_of
from tests.systems.ersilia.published_files import meta_in
from tests.systems.ersilia.simulated_cloud import new_table, simulated_cloud
from tests.systems.ersilia.test_publish_given import package_of
from tests.systems.ersilia.unwell import Unwell, unwell_table
from tools.services import ObjectStore

VERSION = release_of().version


def test_nan_and_inf_never_reach_the_database(tmp_path: Path) -> None:
    """NaN and infinities are "no value": null beside values, and set aside where there is nothing else."""
    columns = [Column(name="a", type=ColumnType.FLOAT), Column(name="b", type=ColumnType.FLOAT)]
    release = release_of(columns=columns)
    rows = (
        prediction_of(1, 1.0, math.nan),
        prediction_of(2, math.inf, 2.0),
        prediction_of(3, math.nan, -math.inf),
        prediction_of(4, 4.0, 4.5),
    )
    given = Given(batches=(rows,))

    published = publish(
        publication_of(
            given, table=tmp_path / "p.db", places=[tmp_path / "store"], facts=facts_of(given, release=release)
        )
    )

    table = connect_predictions(f"sqlite:///{tmp_path}/p.db")
    found = table.read("eos3b5e", release.version, [row.key for row in rows])
    assert [found[row.key].values for row in rows] == [(1.0, None), (None, 2.0), None, (4.0, 4.5)]
    assert (published.stored, published.reasons, published.nulls) == (3, {"no_output": 1}, {"a": 1, "b": 1})
    written = "".join(file.read_text() for file in (tmp_path / "store").rglob("*.csv") if "set_aside" not in str(file))
    assert "nan" not in written.lower().replace("inchi", "")
    assert "inf" not in written.lower()
    table.close()


def test_one_bad_key_costs_one_row(tmp_path: Path) -> None:
    """Of thirty rows one has a key that is none: it is set aside, and the other 29 are stored."""
    made = Made(rows_each=30, count=30)
    rows = [made.prediction(n) for n in range(30)]
    rows[7] = Prediction(key="PCQFQFRJSWBMEL-UHFFFAOYSA", smiles="C", values=(1.0,))
    given = Given(batches=(tuple(rows),))

    published = publish(publication_of(given, table=tmp_path / "p.db", places=[tmp_path / "store"]))

    assert (published.stored, published.reasons) == (29, {"bad_key": 1})
    aside = tmp_path / "store" / "set_aside" / "job-1.csv"
    assert aside.read_text().splitlines()[1].startswith("8,PCQFQFRJSWBMEL-UHFFFAOYSA,C,INPUT_INVALID,bad_key")
    table = connect_predictions(f"sqlite:///{tmp_path}/p.db")
    assert table.count("eos3b5e", VERSION) == 29
    table.close()


def test_filtered_frames_keep_their_rows_aligned(tmp_path: Path) -> None:
    """A file of a filtered and shuffled frame, its index as one more column, keeps every value with its key."""
    (tmp_path / "project").mkdir()
    package = package_of(tmp_path / "eos3b5e", [Column(name="weight", type=ColumnType.FLOAT)])
    places = [n for n in range(60) if n % 3]
    random.Random(5).shuffle(places)
    frame = pl.DataFrame(
        {
            "__index_level_0__": places,
            "key": [key_of(n) if n != 20 else "bad" for n in places],
            "input": [f"C{n}" for n in places],
            "weight": [n / 7 for n in places],
        }
    )
    frame.write_csv(tmp_path / "project" / "theirs.csv")
    project = Project(folder=tmp_path / "project", settings=Settings())

    outcome = publish_given(project, package, ["theirs.csv"])

    table = connect_predictions(predictions_url(project))
    found = table.read("eos3b5e", outcome.version, [key_of(n) for n in range(60)])
    assert {key: (one.smiles, one.values) for key, one in found.items()} == {
        key_of(n): (f"C{n}", (n / 7,)) for n in places if n != 20
    }
    assert outcome.counts.failed == 1
    table.close()


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    """The address of a simulated cloud."""
    with simulated_cloud() as endpoint:
        yield endpoint


def test_repeated_keys_in_one_batch_are_written_once(cloud: str) -> None:
    """A service that refuses a batch with a repeated key is never given one: 25 a batch, none twice."""
    url = new_table(cloud)
    client = Unwell(url, throttled=0, left=0)
    table = unwell_table(url, client, pauses=[])
    table.begin(release_of(), scheme=KeyScheme.INCHIKEY)

    written = table.write(release_of(), [prediction_of(n % 40) for n in range(120)])
    found = table.read("eos3b5e", VERSION, [key_of(n % 40) for n in range(120)])

    assert written.new == 40
    assert len(found) == 40
    assert [size for kind, size in client.calls if kind == "write"] == [25, 15]
    assert [size for kind, size in client.calls if kind == "read"] == [40, 40]


def test_metadata_can_be_written_twice(tmp_path: Path) -> None:
    """Metadata of a model that was published before are replaced, and are one JSON object that is parsed once."""
    made = Made(rows_each=20, count=30)
    for job in ("job-1", "job-2"):
        publish(
            publication_of(made, table=tmp_path / "p.db", places=[tmp_path / "store"], facts=facts_of(made, job=job))
        )

    told: Any = json.loads((tmp_path / "store" / "meta" / "eos3b5e.json").read_text())

    assert isinstance(told, dict)
    assert told["job"] == "job-2"
    assert isinstance(told["library"], dict)


def test_metadata_counts_everything(tmp_path: Path) -> None:
    """The count is that of all distinct keys of the version, those of earlier jobs too, and failures are none."""
    for job, made in (
        ("job-1", Made(rows_each=500, count=1_200)),
        ("job-2", Made(rows_each=500, count=3_000, failed=(2_500,), bad=(2_600,))),
    ):
        publish(
            publication_of(made, table=tmp_path / "p.db", places=[tmp_path / "store"], facts=facts_of(made, job=job))
        )

    told = meta_in(connect_files(str(tmp_path / "store")))
    lake = pl.read_parquet(tmp_path / "store" / "lake" / "model_id=eos3b5e" / "*" / "*.parquet")
    assert told["total_unique_preds"] == 2_998
    assert (lake.height, lake["key"].n_unique()) == (2_998, 2_998)


def test_unprocessed_keys_are_asked_again(cloud: str) -> None:
    """A look-up of many keys on a service that leaves some answers all of them, 100 a call at most."""
    url = new_table(cloud)
    plain = connect_predictions(url)
    plain.begin(release_of(), scheme=KeyScheme.INCHIKEY)
    plain.write(release_of(), [prediction_of(n) for n in range(250)])
    client = Unwell(url, left=0.5)
    table = unwell_table(url, client, pauses=[])

    found = table.read("eos3b5e", VERSION, [key_of(n) for n in range(260)] * 3)

    assert sorted(found) == sorted(key_of(n) for n in range(250))
    assert max(size for kind, size in client.calls if kind == "read") == 100


def test_the_bucket_url_has_its_scheme(
    tmp_path: Path, require_service: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An s3:// address is read as it is written; the original's serving could not read what its prediction wrote."""
    for name, value in ObjectStore.environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "project").mkdir()
    project = Project(folder=tmp_path / "project", settings=Settings())
    package = package_of(tmp_path / "eos3b5e", [Column(name="weight", type=ColumnType.FLOAT)])
    url = below(require_service("s3"))
    publish(publication_of(Made(rows_each=20, count=30), table=tmp_path / "p.db", places=[url]))

    head, mark, query = url.partition("?")
    outcome = publish_given(project, package, [f"{head}/out/eos3b5e/*.csv{mark}{query}"], to=[url])

    assert outcome.counts.stored == 30
    files = connect_files(url)
    assert files.names("out/eos3b5e") == [
        f"{outcome.job}_0001.csv",
        f"{outcome.job}_0002.csv",
        "job-1_0001.csv",
        "job-1_0002.csv",
    ]
    assert all(url.startswith("s3://") for url in outcome.published if "predictions in" not in url)
