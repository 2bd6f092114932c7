"""What publishing left in a folder or a bucket, as tests look at it."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from limner.systems.ersilia.predictions.files import Files
from tests.systems.ersilia.prediction_table_contract import release_of

VERSION = release_of().version


def rows_in(files: Files, path: str) -> list[list[str]]:
    """The rows of a CSV file, header included."""
    with files.reading(path) as file, file.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def lake_of(files: Files, release_folder: str) -> pa.Table:
    """All rows of one version in a lake."""
    tables = []
    for name in files.names(release_folder):
        with files.reading(f"{release_folder}/{name}") as file:
            tables.append(pq.read_table(file))
    return pa.concat_tables(tables)


def meta_in(files: Files, model: str = "eos3b5e") -> dict[str, object]:
    """The metadata of a model."""
    with files.reading(f"meta/{model}.json") as file:
        told: dict[str, object] = json.loads(file.read_bytes())
        return told


def whole_state(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


LAKE = f"lake/model_id=eos3b5e/version={VERSION}"
