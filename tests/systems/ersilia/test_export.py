"""What is stored of a model goes to a table of DynamoDB, to a folder or to a bucket by one command."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest

from limner.settings import Project, Settings
from limner.systems.ersilia.predictions.connect import connect_files, connect_own, connect_predictions, predictions_url
from limner.systems.ersilia.predictions.exporting import StoredRows
from limner.systems.ersilia.predictions.publisher import publish
from tests.artifacts.stores import below
from tests.cli.cases import limner
from tests.systems.ersilia.door_server import write_project
from tests.systems.ersilia.prediction_table_contract import key_of, release_of
from tests.systems.ersilia.published import Made, publication_of
from tests.systems.ersilia.simulated_cloud import REGION, client_of, new_table, simulated_cloud
from tools.services import ObjectStore

VERSION = release_of().version
MADE = Made(rows_each=20, count=60, bad=(3,), failed=(45,))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in which 60 molecules were put through eos3b5e: 58 have values, one failed, one cannot be read."""
    folder = write_project(tmp_path / "project")
    url = predictions_url(Project(folder=folder, settings=Settings()))
    publish(publication_of(MADE, table=Path(url.removeprefix("sqlite:///")), places=[]))
    return folder


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    """The address of a simulated cloud."""
    with simulated_cloud() as endpoint:
        yield endpoint


def test_e12_predictions_are_exported_to_dynamodb(project: Path, cloud: str) -> None:
    """The command fills a table in the layout of the original: every value, and why one is not there."""
    url = new_table(cloud)

    typed = limner("export", "molecules", "--stage", "predict.eos3b5e", "--to", url, "--json", project=project)

    assert typed.status == 0, typed.err
    assert json.loads(typed.out)["records"] == 59
    client = client_of(url)
    item = client.get_item(
        TableName=urlsplit(url).netloc, Key={"PK": {"S": f"INPUTKEY#{key_of(7)}"}, "SK": {"S": "MODELID#eos3b5e"}}
    )["Item"]
    assert item["Precalculation"] == {"L": [{"N": "1.0"}]} or item["Precalculation"] == {"L": [{"N": "1"}]}
    table = connect_predictions(url)
    found = table.read("eos3b5e", VERSION, [key_of(n) for n in range(60)])
    assert {n: found[key_of(n)].values for n in range(60) if n not in (3, 45)} == {
        n: (n / 7,) for n in range(60) if n not in (3, 45)
    }
    failed = found[key_of(45)].failed
    assert failed is not None
    assert failed.reason == "command_failed"
    assert table.count("eos3b5e", VERSION) == 58


def test_e12_predictions_are_exported_to_a_folder(project: Path, tmp_path: Path) -> None:
    """The command writes CSV, Parquet and metadata; once more after they were moved away, it writes them again."""
    for name in ("first", "second"):
        typed = limner(
            "export", "molecules", "--stage", "predict.eos3b5e", "--to", tmp_path / "out", "--json", project=project
        )
        assert typed.status == 0, typed.err
        files = connect_files(str(tmp_path / "out"))
        (part,) = files.names(f"lake/model_id=eos3b5e/version={VERSION}")
        with files.reading(f"lake/model_id=eos3b5e/version={VERSION}/{part}") as file:
            assert pq.read_table(file).column("key").to_pylist() == [key_of(n) for n in range(60) if n not in (3, 45)]
        assert len(files.names("out/eos3b5e")) == 1
        assert files.names("meta") == ["eos3b5e.json"]
        (tmp_path / "out").rename(tmp_path / name)


def test_e12_predictions_are_exported_to_a_bucket(
    project: Path, require_service: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same in S3."""
    for name, value in ObjectStore.environment().items():
        monkeypatch.setenv(name, value)
    url = below(require_service("s3"))

    typed = limner("export", "molecules", "--stage", "predict.eos3b5e", "--to", url, project=project)

    assert typed.status == 0, typed.err
    assert "59" in typed.out
    assert connect_files(url).names("meta") == ["eos3b5e.json"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["molecules", "--stage", "predict.eos9zzz", "--to", "out"], "precalc eos9zzz"),
        (["molecules", "--stage", "identify", "--to", "out"], "predict.eos3b5e"),
        (["words", "--stage", "shout", "--to", "out"], "molecules"),
        (["molecules", "--stage", "predict.eos3b5e", "--to", "ftp://there"], "dynamodb://TABLE"),
        (["molecules", "--stage", "predict.eos3b5e", "--to", f"dynamodb://nowhere?region={REGION}&x=1"], "dynamodb://"),
        (["molecules", "--stage", "predict.eos3b5e", "--shape", "x", "--to", "out"], "--shape"),
    ],
)
def test_a_mistake_is_one_sentence(project: Path, words: list[str], told: str) -> None:
    """What cannot be exported so is told with what can; the exit status is 2, and nothing is written."""
    typed = limner("export", *words, project=project)

    assert typed.status == 2
    assert told in typed.err
    assert not (project / "out").exists()


def test_batches_of_an_export_are_whole_and_do_not_overlap(tmp_path: Path) -> None:
    """More predictions than a batch, or than are read at a time, come once each in the order of the keys."""
    url = f"sqlite:///{tmp_path}/p.db"
    publish(publication_of(Made(rows_each=10_000, count=20_501), table=tmp_path / "p.db"))
    table = connect_own(url)

    firsts = table.firsts("eos3b5e", VERSION, size=10_000)

    rows = StoredRows(table=url, model="eos3b5e", version=VERSION, firsts=tuple(firsts))
    batches = [list(rows.rows(number)) for number in range(len(rows))]
    assert [len(batch) for batch in batches] == [10_000, 10_000, 501]
    assert [row.prediction.key for batch in batches for row in batch] == [key_of(n) for n in range(20_501)]
    assert [row.row for batch in batches for row in batch] == list(range(1, 20_502))
    table.close()


def test_an_export_says_what_it_took_from_where(project: Path, tmp_path: Path) -> None:
    """The metadata of an export name the version and what of it was exported."""
    limner("export", "molecules", "--stage", "predict.eos3b5e", "--to", os.fspath(tmp_path / "out"), project=project)

    with connect_files(str(tmp_path / "out")).reading("meta/eos3b5e.json") as file:
        told = file.read_text()
    assert VERSION in told
    assert '"total_unique_preds": 58' in told
