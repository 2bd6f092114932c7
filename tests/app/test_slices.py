"""Pipelines over slices of a table, from the Parquet file to looked-up rows, with real inferrers in their processes."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

import limner
from limner.app.app import App
from limner.app.slices import RowCounts
from limner.domain.outputs import Artifact, Number
from limner.domain.pipelines import Pipeline, make_pipeline, make_stage
from limner.domain.reads import file, where
from limner.errors import ConfigurationError, UsageError

INFERRERS = '''
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


class Total:
    """The sum of a row; says how many rows it was given."""

    version = "1"

    def infer(self, x: np.ndarray) -> np.ndarray:
        with (HERE / "calls.txt").open("a") as calls:
            calls.write(f"{len(x)}\\n")
        if (x[:, 0] == 13).any():
            raise ValueError("thirteen")
        return np.where(x[:, 0] == 14, np.nan, x.sum(axis=1))


def halves(total: np.ndarray, word: list[str]) -> list:
    assert isinstance(word, list)
    return [KeyError("odd one") if one == "odd" else {"half": half / 2, "word": one} for half, one in zip(total, word)]


def noted(note: list, x: np.ndarray) -> dict:
    return {"value": ["none" if one is None else one for one in note]}


def miscounts(x: np.ndarray) -> np.ndarray:
    return x[:1, 0] if len(x) > 1 else x[:, 0]
'''
PIPELINE = """
from limner import Number, Pipeline, Stage, Text, optional

pipeline = Pipeline("table", collection="things", slices=10, stages=[
    Stage("total", "inferrers:Total", reads={"x": "x"}, outputs={"total": Number(most=500)}),
    Stage("halves", "inferrers:halves", reads={"total": "total.total", "word": "word"},
          outputs={"half": Number(), "word": Text()}),
    Stage("noted", "inferrers:noted", reads={"note": optional("note"), "x": "x"}, outputs={"value": Text()}),
    Stage("miscounts", "inferrers:miscounts", reads={"x": "x"}),
])
"""


def rows(count: int) -> pa.Table:
    """So many rows: two numbers each, the first of which is the row's own, a word and sometimes a note."""
    return pa.table(
        {
            "id": [f"r{n}" for n in range(count)],
            "x": pa.array([[float(n), 1.0] for n in range(count)], pa.list_(pa.float32(), 2)),
            "word": [None if n == 5 else "odd" if n == 7 else f"w{n}" for n in range(count)],
            "note": ["seen" if n % 2 else None for n in range(count)],
        }
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a pipeline over slices of ten, and a table of 25 rows."""
    (tmp_path / "inferrers.py").write_text(INFERRERS)
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    pq.write_table(rows(25), tmp_path / "t.parquet")
    return tmp_path


@pytest.fixture
def app(project: Path) -> Iterator[App]:
    """The project, opened."""
    with limner.open(project) as opened:
        yield opened


def looked_up(app: App, *ids: str) -> dict[str, dict[str, object]]:
    """The rows with these ids, or all, by id."""
    tables = app.tables("things", ids=ids or None)
    return {str(row["id"]): row for table in tables for row in table.to_pylist()}


@pytest.mark.slow
def test_each_row_ends_by_itself(app: App, project: Path) -> None:
    """Rows are inferred in columns, and what is wrong with one costs no other: it fails or is skipped, and says why."""
    summary = app.run("table", project / "t.parquet")
    assert (summary.records, summary.done, summary.failed) == (3, 3, 0)
    assert summary.rows == {
        "total": RowCounts(done=23, failed=2),
        "halves": RowCounts(done=21, failed=3, skipped=1),
        "noted": RowCounts(done=25),
        "miscounts": RowCounts(done=25),
    }
    found = looked_up(app)
    assert (found["r3"]["total.total"], found["r3"]["halves.half"], found["r3"]["halves.word"]) == (4.0, 2.0, "w3")
    assert (found["r13"]["total._failed"], found["r13"]["total._message"]) == ("MODEL_ERROR", "ValueError: thirteen")
    assert (found["r14"]["total._failed"], found["r14"]["total.total"]) == ("OUTPUT_INVALID", None)
    assert (found["r13"]["halves._failed"], found["r13"]["halves.half"]) == ("UPSTREAM_FAILED", None)
    assert (found["r5"]["halves._skipped"], found["r5"]["halves._failed"]) == ("no_word", None)
    assert (found["r7"]["halves._failed"], found["r7"]["halves._message"]) == ("MODEL_ERROR", "KeyError: 'odd one'")
    assert [found[f"r{n}"]["noted.value"] for n in (0, 1)] == ["none", "seen"]
    assert found["r24"]["miscounts.value"] == 24.0


@pytest.mark.slow
def test_only_slices_that_changed_are_inferred_again(app: App, project: Path) -> None:
    """A second run asks no inferrer; a changed row costs its slice; a table that shrank leaves no rows behind."""
    app.run("table", project / "t.parquet")
    calls = project / "calls.txt"
    calls.unlink()
    assert app.run("table", project / "t.parquet").inferred == 0
    changed = rows(25)
    numbers = pa.array([[float(n), 2.0 if n == 24 else 1.0] for n in range(25)], pa.list_(pa.float32(), 2))
    pq.write_table(changed.set_column(1, "x", numbers), project / "t.parquet")
    app.run("table", project / "t.parquet")
    assert calls.read_text().split() == ["5"]
    assert looked_up(app, "r24", "nobody")["r24"]["total.total"] == 26.0
    pq.write_table(rows(10), project / "t.parquet")
    app.run("table", project / "t.parquet")
    assert sorted(looked_up(app)) == sorted(f"r{n}" for n in range(10))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_rows_are_exported_with_what_was_inferred(app: App, project: Path, ending: str) -> None:
    """A file has a row for each of the table's, in their order."""
    pq.write_table(rows(25).drop_columns(["x"]), project / "t.parquet")
    (project / "pipeline.py").write_text(
        "from limner import Pipeline, Stage, Text, optional\n"
        'pipeline = Pipeline("table", collection="things", slices=10, stages=[\n'
        '    Stage("long", "inferrers:longest", reads={"word": optional("word")})])\n'
    )
    (project / "inferrers.py").write_text(
        "def longest(word: list) -> list:\n    return [len(one or '') for one in word]\n"
    )
    with limner.open(project) as again:
        again.run("table", project / "t.parquet")
        to = project / f"out.{ending}"
        assert again.export("things", to) == 25
    read = pq.read_table(to) if ending == "parquet" else csv.read_csv(to)
    assert read.column("id").to_pylist() == [f"r{n}" for n in range(25)]
    assert read.column("long.value").to_pylist()[:8] == [2, 2, 2, 2, 2, 0, 2, 3]


def test_other_collections_have_no_rows(app: App) -> None:
    """Asking for the rows of what is no collection of slices is a mistake, and so is exporting slices as JSON Lines."""
    with pytest.raises(UsageError, match="no collection of slices"):
        next(app.tables("texts"))
    with pytest.raises(UsageError, match=r"use \.parquet or \.csv"):
        app.export("things", "out.jsonl")


def declared(**changed: object) -> Pipeline:
    """A pipeline over slices with one stage that is declared so."""
    options: dict[str, object] = {"infer": "inferrers:Total", "reads": {"x": "x"}, **changed}
    return make_pipeline("table", collection="things", slices=10, stages=[make_stage("one", **options)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"when": where("x", ">", 1)}, "has a condition"),
        ({"reads": {"x": file("x")}}, "reads a file"),
        ({"reads": {"x": "parent.x"}}, "reads of a parent"),
        ({"infer": "onnx"}, "built-in inferrer"),
        ({"outputs": {"x": Artifact()}}, "answers with files"),
        ({"kind": "expand", "of": "more", "identity": ["x"]}, "expands"),
        ({"gate": True}, "is a gate"),
        ({"over": "others"}, "another collection"),
    ],
)
def test_what_takes_records_one_by_one_is_refused(changed: dict[str, object], said: str) -> None:
    """A stage that cannot be done over slices is refused when it is declared, in a sentence that names it."""
    with pytest.raises(ConfigurationError, match=f"Stage one .*{said}"):
        declared(**changed)


def test_a_number_of_rows_is_wanted(project: Path) -> None:
    """No slices of no rows."""
    stage = make_stage("one", "inferrers:Total", reads={"x": "x"}, outputs={"x": Number()})
    with pytest.raises(ConfigurationError, match="slices is a number of rows"):
        make_pipeline("table", collection="things", slices=0, stages=[stage])
