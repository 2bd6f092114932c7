"""Made predictions, put on the shelves of a real table: what the tests of the doors look up."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from limner.domain.failures import FailureCode
from limner.settings import load_project
from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.nouns import Failed, KeyScheme, Prediction, Release
from limner.systems.ersilia.predictions.base import PredictionTable
from limner.systems.ersilia.predictions.connect import connect_predictions, predictions_url

MODEL = "eos3b5e"
WEIGHT = Column(name="mol_weight", type=ColumnType.FLOAT)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def key_of(number: int) -> str:
    """An InChIKey-like key, the same for the same number."""
    digest = hashlib.sha256(str(number).encode()).digest()
    letters = "".join(LETTERS[byte % 26] for byte in digest)
    return f"{letters[:14]}-{letters[14:24]}-N"


def release_of(
    *, model: str = MODEL, release: str = "v1.0.0", columns: Sequence[Column] = (WEIGHT,), package: str = "a" * 64
) -> Release:
    """One release of a model."""
    return Release(
        model=model,
        release=release,
        package=package,
        environment={"python": "3.11", "rdkit": "1"},
        columns=tuple(columns),
    )


def predicted(number: int, *values: Cell) -> Prediction:
    """A prediction of an alkane whose chain is so long, as far as anybody looks."""
    told = values or (weight_of(number),)
    return Prediction(key=key_of(number), smiles="C" * (number % 50 + 1), values=told)


def weight_of(number: int) -> float:
    """A figure with many digits, the same for the same number."""
    return 14.027 * number + 2.016 + number / 7


def failed(number: int) -> Prediction:
    """A molecule of which the model says nothing."""
    why = Failed(code=FailureCode.OUTPUT_INVALID, reason="no_output", message="no_output: Every column is empty.")
    return Prediction(key=key_of(number), smiles="[Xe]", failed=why)


def shelve(
    table: PredictionTable,
    predictions: Sequence[Prediction],
    *,
    release: Release | None = None,
    complete: bool = True,
    scheme: KeyScheme = KeyScheme.INCHIKEY,
) -> Release:
    """Put *predictions* into a table, as a publisher does."""
    one = release or release_of()
    table.begin(one, scheme=scheme)
    for start in range(0, len(predictions), 10_000):
        written = table.write(one, predictions[start : start + 10_000])
        assert not written.refused
    if complete:
        table.complete(one)
    return one


def table_of(folder: Path) -> PredictionTable:
    """The table of the project in *folder*."""
    project = load_project(folder, environment={})
    project.home.mkdir(parents=True, exist_ok=True)
    return connect_predictions(predictions_url(project))
