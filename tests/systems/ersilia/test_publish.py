"""Publishing puts everything that a job predicted into every place, once, whatever happens meanwhile."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limner.clock import MovedClock
from limner.errors import ConfigurationError, UsageError
from limner.systems.ersilia.columns import Column, ColumnType
from limner.systems.ersilia.nouns import KeyScheme, Prediction
from limner.systems.ersilia.predictions.connect import connect_files, connect_predictions
from limner.systems.ersilia.predictions.dataset import Dataset
from limner.systems.ersilia.predictions.lake import NAMES
from limner.systems.ersilia.predictions.publisher import publish
from tests.artifacts.stores import below
from tests.systems.ersilia.prediction_table_contract import key_of, release_of
from tests.systems.ersilia.published import WIDE, Given, Made, facts_of, publication_of
from tests.systems.ersilia.published_files import LAKE, VERSION, lake_of, meta_in, rows_in, whole_state
from tools.services import ObjectStore


@pytest.fixture(params=["folder", "s3"])
def address(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    require_service: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Where files go: a folder, or a prefix of a bucket."""
    if request.param == "folder":
        return str(tmp_path / "store")
    for name, value in ObjectStore.environment().items():
        monkeypatch.setenv(name, value)
    return below(require_service("s3"))


def test_e12_files_lie_as_the_bulk_store_says(table: Path, address: str) -> None:
    """CSV by job and batch, Parquet by version, rows set aside and metadata, each under its name, in folder and S3."""
    made = Made(rows_each=20, count=50, bad=(3,), failed=(45,))

    published = publish(publication_of(made, table=table, places=[address]))

    files = connect_files(address)
    assert files.names("out/eos3b5e") == ["job-1_0001.csv", "job-1_0002.csv", "job-1_0003.csv"]
    assert files.names(LAKE) == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    shard = rows_in(files, "out/eos3b5e/job-1_0003.csv")
    assert shard[0] == ["key", "input", "weight"]
    assert [row[0] for row in shard[1:]] == [key_of(n) for n in range(40, 50) if n != 45]
    assert [float(row[2]) for row in shard[1:]] == [n / 7 for n in range(40, 50) if n != 45]
    lake = lake_of(files, LAKE)
    assert lake.column_names == ["key", "key_scheme", "input", "weight"]
    assert lake.column("weight").to_pylist() == [n / 7 for n in range(50) if n not in (3, 45)]
    assert set(lake.column("key_scheme").to_pylist()) == {"inchikey"}
    assert rows_in(files, "set_aside/job-1.csv") == [
        ["row", "key", "input", "code", "reason", "message"],
        ["4", "", made.prediction(3).smiles, "INPUT_INVALID", "bad_smiles", "bad_smiles: RDKit cannot read it."],
        [
            "46",
            key_of(45),
            made.prediction(45).smiles,
            "MODEL_ERROR",
            "command_failed",
            "command_failed: exit 1, said:\n!",
        ],
    ]
    assert (published.stored, published.reasons) == (48, {"bad_smiles": 1, "command_failed": 1})
    assert published.files == [files.url("set_aside/job-1.csv"), files.url("meta/eos3b5e.json")]
    assert all("?" not in url and "://" in url for url in published.files)


def test_the_table_has_all_that_the_files_have_and_the_failures(table: Path, tmp_path: Path) -> None:
    """A key without a value says why in the table; rows without a key are in no table."""
    made = Made(rows_each=20, count=50, bad=(3,), failed=(45,))

    publish(publication_of(made, table=table, places=[tmp_path / "store"]))

    opened = connect_predictions(f"sqlite:///{table}")
    found = opened.read("eos3b5e", VERSION, [key_of(n) for n in range(50)])
    assert opened.count("eos3b5e", VERSION) == 48
    assert (found[key_of(1)].values, found[key_of(1)].job) == ((1 / 7,), "job-1")
    failed = found[key_of(45)].failed
    assert failed is not None
    assert (failed.reason, found[key_of(45)].record) == ("command_failed", made.prediction(45).record)
    assert key_of(3) not in found
    assert [shelf.complete for shelf in opened.shelves()] == [True]
    opened.close()


def test_a_failed_spelling_takes_nothing_from_one_that_is_stored(table: Path) -> None:
    """Where one spelling of a molecule failed and another has values, the key has values, whichever came first."""
    made = Made(rows_each=10, count=10, failed=(0, 9))
    good, bad = made.prediction(1), made.prediction(0)
    good_last = Prediction(key=bad.key, smiles="C", values=(1.0,), record="r")
    bad_last = Prediction(key=good.key, smiles="CC", failed=bad.failed, record="s")

    publish(publication_of(Given(batches=((bad, good), (good_last, bad_last))), table=table))

    opened = connect_predictions(f"sqlite:///{table}")
    found = opened.read("eos3b5e", VERSION, [good.key, bad.key])
    assert {key: one.values for key, one in found.items()} == {good.key: (1 / 7,), bad.key: (1.0,)}
    opened.close()


def test_a_batch_goes_only_where_it_is_missing(table: Path, tmp_path: Path) -> None:
    """A place that was added later is filled, and the others are left alone."""
    made = Made(rows_each=20, count=40)
    first = publish(publication_of(made, table=table, places=[tmp_path / "one"]))
    before = {name: data for name, data in whole_state(tmp_path / "one").items() if not name.startswith("meta")}

    both = publish(publication_of(made, table=table, places=[tmp_path / "one", tmp_path / "two"]))

    assert before.items() <= whole_state(tmp_path / "one").items()
    one, two = (connect_files(str(tmp_path / name)).url() for name in ("one", "two"))
    assert both.places[one].spans == first.places[one].spans
    assert both.places[two].new == 40
    assert lake_of(connect_files(two), LAKE).num_rows == 40


def test_publishing_twice_changes_nothing(table: Path, tmp_path: Path) -> None:
    """The same job published again leaves every file but the metadata's times as it was."""
    made = Made(rows_each=20, count=50, failed=(7,))
    publish(publication_of(made, table=table, places=[tmp_path / "store"]))
    before = whole_state(tmp_path / "store")

    publish(publication_of(made, table=table, places=[tmp_path / "store"]))

    after = whole_state(tmp_path / "store")
    assert {name for name in after if after[name] != before.get(name)} <= {"meta/eos3b5e.json"}
    assert set(after) == set(before)


def test_a_second_job_over_the_same_library_adds_no_rows(table: Path, tmp_path: Path, address: str) -> None:
    """Another job has CSV files of its own; table and dataset hold every key once, and no new file."""
    made = Made(rows_each=20, count=50)
    publish(publication_of(made, table=table, places=[address]))
    files = connect_files(address)
    before = files.names(LAKE)

    second = publish(publication_of(made, table=table, places=[address], facts=facts_of(made, job="job-2")))

    assert len(files.names("out/eos3b5e")) == 6
    assert files.names(LAKE) == before
    assert lake_of(files, LAKE).num_rows == 50
    own = next(arrived for name, arrived in second.places.items() if "predictions in" in name)
    assert (own.new, own.changed, own.same) == (0, 0, 50)


def test_a_sample_and_then_all_leave_every_key_once(table: Path, tmp_path: Path) -> None:
    """What a sample put into the dataset stays, and the whole library adds the rest."""
    files = connect_files(str(tmp_path / "store"))
    for job, count in (("sample", 10), ("whole", 45)):
        made = Made(rows_each=20, count=count)
        publish(publication_of(made, table=table, places=[tmp_path / "store"], facts=facts_of(made, job=job)))

    keys = [str(key) for key in lake_of(files, LAKE).column("key").to_pylist()]
    assert sorted(keys) == sorted(key_of(n) for n in range(45))


@pytest.mark.parametrize("wide", [False, True])
def test_a_changed_value_takes_the_place_of_the_old_one(table: Path, tmp_path: Path, wide: bool) -> None:
    """A value that changed stands once in the dataset, in a later file; its neighbours stay where they were."""
    old = Made(rows_each=10, count=20, wide=wide)
    release = WIDE if wide else release_of()
    row = old.prediction(5)
    values = (9, *(row.values or ())[1:])
    changed = Prediction(key=row.key, smiles=row.smiles, values=values, record=row.record)
    new = Given(batches=(tuple(changed if n == 5 else old.prediction(n) for n in range(20)),))
    store = tmp_path / "store"
    publish(publication_of(old, table=table, places=[store], facts=facts_of(old, release=release)))

    publish(publication_of(new, table=table, places=[store], facts=facts_of(new, job="job-2", release=release)))

    files = connect_files(str(store))
    dataset = Dataset(files, release)
    sizes = {}
    for number in dataset.parts():
        with files.reading(dataset.path(number)) as file:
            sizes[number] = pq.read_metadata(file).num_rows
    assert sizes == {0: 9, 1: 10, 2: 1}
    with files.reading(dataset.path(2)) as file:
        kept = pq.read_table(file).to_pylist()
    assert kept[0]["key"] == row.key
    assert (kept[0]["values"] if wide else [kept[0]["weight"]]) == list(values)


def test_wide_values_are_one_column_of_lists(table: Path, tmp_path: Path) -> None:
    """2,048 whole numbers are one fixed-size list of int32, their names in the schema; small, and read back equal."""
    made = Made(rows_each=600, count=1200, wide=True)

    publish(publication_of(made, table=table, places=[tmp_path / "store"]))

    files = connect_files(str(tmp_path / "store"))
    folder = f"lake/model_id=eos5axz/version={WIDE.version}"
    lake = lake_of(files, folder)
    field = lake.schema.field("values")
    assert field.type == pa.list_(pa.int32(), 2048)
    assert json.loads((field.metadata or {})[NAMES]) == [column.name for column in WIDE.columns]
    assert lake.column("values").to_pylist() == [list(made.prediction(n).values or ()) for n in range(1200)]
    assert sum(len(data) for name, data in whole_state(tmp_path / "store").items() if "lake" in name) < 1_000_000
    opened = connect_predictions(f"sqlite:///{table}")
    asked = [key_of(n) for n in range(0, 1200, 12)]
    assert {key: one.values for key, one in opened.read("eos5axz", WIDE.version, asked).items()} == {
        key_of(n): made.prediction(n).values for n in range(0, 1200, 12)
    }
    opened.close()


def test_wide_text_stays_a_column(table: Path, tmp_path: Path) -> None:
    """Among many numbers a text column stands for itself, and no value is null in list and column."""
    columns = [
        *(Column(name=f"x{n}", type=ColumnType.FLOAT) for n in range(70)),
        Column(name="note", type=ColumnType.STRING),
    ]
    release = release_of(columns=columns)
    values = (*(n / 3 for n in range(69)), None, None)
    given = Given(batches=((Prediction(key=key_of(1), smiles="C", values=values),),))

    published = publish(
        publication_of(given, table=table, places=[tmp_path / "store"], facts=facts_of(given, release=release))
    )

    (row,) = lake_of(
        connect_files(str(tmp_path / "store")), f"lake/model_id=eos3b5e/version={release.version}"
    ).to_pylist()
    assert row["note"] is None
    assert row["values"] == [*values[:69], None]
    assert published.nulls == {"x69": 1, "note": 1}


def test_what_does_not_fit_a_place_is_set_aside_there(table: Path, tmp_path: Path) -> None:
    """A number too large for the dataset's column is told as set aside with the place, and kept where it fits."""
    row = Made(rows_each=1, count=1, wide=True).prediction(0)
    huge = Prediction(key=key_of(1), smiles="CC", values=(2**40, *(row.values or ())[1:]))
    given = Given(batches=((row, huge),))

    published = publish(
        publication_of(given, table=table, places=[tmp_path / "store"], facts=facts_of(given, release=WIDE))
    )

    files = connect_files(str(tmp_path / "store"))
    aside = rows_in(files, "set_aside/job-1.csv")
    assert [(line[0], line[1], line[3], line[4]) for line in aside[1:]] == [
        ("2", key_of(1), "OUTPUT_INVALID", "not_representable")
    ]
    assert files.url() in aside[1][5]
    assert published.places[files.url()].refused == 1
    assert len(rows_in(files, "out/eos5axz/job-1_0001.csv")) == 2
    opened = connect_predictions(f"sqlite:///{table}")
    assert opened.count("eos5axz", WIDE.version) == 2
    opened.close()


def test_e16_metadata_have_the_fields_of_the_original(table: Path, tmp_path: Path) -> None:
    """One JSON object with the original's seven fields in their types, and what we add."""
    made = Made(rows_each=20, count=50, bad=(3,))
    clock = MovedClock(start=1_700_000_061.4)

    publish(publication_of(made, table=table, places=[tmp_path / "store"]), clock=clock)

    told = meta_in(connect_files(str(tmp_path / "store")))
    assert list(told)[:7] == [
        "model_id",
        "preds_in_store",
        "total_unique_preds",
        "preds_last_updated",
        "pipeline_latest_start_time",
        "pipeline_latest_duration",
        "pipeline_meta_s3_uri",
    ]
    assert told == {
        "model_id": "eos3b5e",
        "preds_in_store": True,
        "total_unique_preds": 49,
        "preds_last_updated": "2023-11-14T22:14:21+00:00",
        "pipeline_latest_start_time": "2023-11-14T22:13:20+00:00",
        "pipeline_latest_duration": 61,
        "pipeline_meta_s3_uri": f"file://{tmp_path}/store/meta/eos3b5e.json",
        "model_version": VERSION,
        "code": None,
        "environment": {"python": "3.11"},
        "key_scheme": "inchikey",
        "library": {"name": "library.csv", "sha256": "cd" * 32, "rows": 50},
        "job": "job-1",
        "counts": {
            "rows": 50,
            "stored": 49,
            "failed": 1,
            "skipped": 0,
            "cancelled": 0,
            "duplicate_row": 0,
            "duplicate_key": 0,
            "blank_lines": 0,
            "reasons": {},
        },
        "cost": None,
    }


def test_nothing_is_told_before_all_is_there(table: Path, tmp_path: Path) -> None:
    """A run that stops within leaves no metadata and a version that is not complete."""
    made = Made(rows_each=20, count=40)
    store = tmp_path / "store"

    class Stopped(Exception):
        """The run was stopped."""

    def stop(done: int, total: int) -> None:
        if done == 1:
            raise Stopped

    with pytest.raises(Stopped):
        publish(publication_of(made, table=table, places=[store]), progress=stop)

    assert sorted(whole_state(store)) == [f"{LAKE}/part-00000.parquet", "out/eos3b5e/job-1_0001.csv"]
    opened = connect_predictions(f"sqlite:///{table}")
    assert [shelf.complete for shelf in opened.shelves()] == [False]
    opened.close()


def test_an_empty_job_is_told_too(table: Path, tmp_path: Path) -> None:
    """A job of which nothing came has metadata that say so."""
    given = Given(batches=())

    published = publish(publication_of(given, table=table, places=[tmp_path / "store"]))

    told = meta_in(connect_files(str(tmp_path / "store")))
    assert (published.stored, told["preds_in_store"], told["total_unique_preds"]) == (0, False, 0)


def test_another_scheme_is_refused_before_anything_is_written(table: Path, tmp_path: Path) -> None:
    """A table of InChIKeys takes no job by md5, and no file is written for it."""
    made = Made(rows_each=20, count=20)
    publish(publication_of(made, table=table))

    with pytest.raises(UsageError, match="by inchikey"):
        publish(
            publication_of(
                made,
                table=table,
                places=[tmp_path / "store"],
                facts=facts_of(made, job="job-2", scheme=KeyScheme.MD5),
            )
        )

    assert whole_state(tmp_path / "store") == {}


@pytest.mark.parametrize("url", ["ftp://there", "http://there/folder"])
def test_unknown_places_name_the_known(url: str) -> None:
    """An address where nothing can be put is answered with those where it can."""
    with pytest.raises(ConfigurationError, match="dynamodb://"):
        connect_files(url)


def test_a_place_that_is_a_file_is_refused(table: Path, tmp_path: Path) -> None:
    """Where a file stands in the place of the folder, one sentence says so."""
    (tmp_path / "store").write_text("not a folder")

    with pytest.raises(UsageError, match="store"):
        publish(publication_of(Made(rows_each=20, count=20), table=table, places=[tmp_path / "store"]))
