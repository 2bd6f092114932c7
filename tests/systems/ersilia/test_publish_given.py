"""Publishing alone: files that somebody else predicted are checked row by row, stored and set aside."""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from limner.errors import NotFound, UsageError
from limner.settings import Project, Settings
from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.nouns import KeyScheme, Prediction
from limner.systems.ersilia.packages.base import Package
from limner.systems.ersilia.packages.reading import read_package
from limner.systems.ersilia.precalc.nouns import Outcome
from limner.systems.ersilia.predictions.connect import connect_predictions, predictions_url
from limner.systems.ersilia.predictions.publish_given import publish_given
from limner.systems.ersilia.predictions.publisher import publish
from tests.systems.ersilia.prediction_table_contract import key_of
from tests.systems.ersilia.published import Made, publication_of

COLUMNS = (
    Column(name="weight", type=ColumnType.FLOAT),
    Column(name="rings", type=ColumnType.INTEGER),
    Column(name="class", type=ColumnType.STRING),
)


def package_of(folder: Path, columns: Sequence[Column] = COLUMNS) -> Package:
    """A package that is only described: a model id and its columns."""
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps({"Identifier": "eos3b5e", "Release": "v1.0.0"}))
    lines = ["name,type,direction,description", *(f"{column.name},{column.type},," for column in columns)]
    (folder / "run_columns.csv").write_text("\n".join(lines))
    return read_package(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project."""
    (tmp_path / "project").mkdir()
    return Project(folder=tmp_path / "project", settings=Settings())


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """A model with a column of each type."""
    return package_of(tmp_path / "eos3b5e")


def stored(project: Project, outcome: Outcome, keys: Sequence[str]) -> dict[str, Prediction]:
    """What the project's table says of keys."""
    table = connect_predictions(predictions_url(project))
    found = table.read("eos3b5e", outcome.version, keys)
    table.close()
    return found


def values(found: dict[str, Prediction], number: int) -> tuple[Cell, ...] | None:
    """The values for a molecule."""
    return found[key_of(number)].values


def aside(project: Project, outcome: Outcome) -> dict[int, tuple[str, str]]:
    """Reason and message of the rows that were set aside, by row."""
    with (project.folder / "set_aside" / f"{outcome.job}.csv").open(newline="") as file:
        return {int(row["row"]): (row["reason"], row["message"]) for row in csv.DictReader(file)}


def test_e24_given_files_are_stored_and_set_aside(project: Project, package: Package) -> None:
    """Good rows are stored with their types, each bad one is set aside with its reason, and the sums agree."""
    k = [key_of(n) for n in range(20)]
    lines = [
        "key,input,weight,rings,class",
        f"{k[0]},C,283.239,2,soluble",
        f"{k[1]},CC,1e-7,2.0,",
        "",
        f"{k[2]},CCC,,,",
        f"{k[3]},CCCC,nan,inf,",
        f"{k[4]},CCO,heavy,1,x",
        f"{k[5]},CCN,1.0,1.5,x",
        "not-a-key,CCS,1.0,1,x",
        ",CCS,1.0,1,x",
        f"{k[6]},,1.0,1,x",
        f"{k[7]},CCF,1.0,1",
        f"{k[0]},C,283.239,2,soluble",
        f"{k[0]},[CH4],283.239,2,soluble",
        f'{k[8]},CCl,-inf,3,"a, ""quoted"" word"',
        f"{k[9]},CBr,0.1,,NaN",
    ]
    bad_bytes = f"{k[10]},C".encode() + b"\xff\xfe,1.0,1,x\n"
    good = f"{k[11]},N[Pt](N)(Cl)Cl,-0.5,7,last".encode()
    (project.folder / "theirs.csv").write_bytes("\r\n".join(lines).encode() + b"\r\n" + bad_bytes + good)

    outcome = publish_given(project, package, ["theirs.csv"])

    found = stored(project, outcome, k)
    assert values(found, 0) == (283.239, 2, "soluble")
    assert values(found, 1) == (1e-7, 2, None)
    assert isinstance((values(found, 1) or ())[1], int)
    assert values(found, 8) == (None, 3, 'a, "quoted" word')
    assert values(found, 9) == (0.1, None, "NaN")
    assert values(found, 11) == (-0.5, 7, "last")
    assert found[key_of(0)].smiles == "C"
    reasons = {row: reason for row, (reason, _) in aside(project, outcome).items()}
    assert reasons == {
        3: "no_output",
        4: "no_output",
        5: "bad_type",
        6: "bad_type",
        7: "bad_key",
        8: "bad_key",
        9: "empty_input",
        10: "bad_row",
        15: "bad_row",
    }
    assert "'heavy' in column weight is no float" in aside(project, outcome)[5][1]
    assert "'1.5' in column rings is no integer" in aside(project, outcome)[6][1]
    counts = outcome.counts
    assert (counts.rows, counts.stored, counts.failed, counts.duplicate_row, counts.duplicate_key) == (16, 5, 9, 1, 1)
    assert counts.whole
    assert counts.blank_lines == 1
    assert outcome.by_row[11] == "duplicate_row of 1"
    assert outcome.by_row[12] == "duplicate_key of 1"
    assert outcome.state == "done_with_failures"
    assert outcome.nulls == {"weight": 1, "rings": 1, "class": 1}


def test_files_of_a_job_come_back_as_they_went(project: Project, tmp_path: Path) -> None:
    """What publishing wrote elsewhere is published here value by value, by several processes and in batches."""
    package = package_of(tmp_path / "eos3b5e", [Column(name="weight", type=ColumnType.FLOAT)])
    made = Made(rows_each=700, count=1500)
    publish(publication_of(made, table=tmp_path / "p.db", places=[tmp_path / "elsewhere"]))

    outcome = publish_given(project, package, [f"{tmp_path}/elsewhere/out/eos3b5e/*.csv"], to=[str(tmp_path / "here")])

    assert (outcome.counts.stored, outcome.shards, outcome.state) == (1500, 3, "done")
    here, there = (sorted((tmp_path / name / "out/eos3b5e").iterdir()) for name in ("here", "elsewhere"))
    assert [file.read_bytes() for file in here] == [file.read_bytes() for file in there]
    found = stored(project, outcome, [key_of(n) for n in range(1500)])
    assert all(values(found, n) == (n / 7,) for n in range(1500))


def test_the_same_files_again_add_nothing(project: Project, package: Package) -> None:
    """Published twice, files are one job: every count is as before, and nothing lies twice."""
    row = f"{key_of(1)},C,1.0,1,x"
    (project.folder / "theirs.csv").write_text(f"key,input,weight,rings,class\n{row}\n")
    first = publish_given(project, package, ["*.csv"])
    before = sorted(str(file) for file in project.folder.rglob("*.*") if ".limner" not in str(file))

    second = publish_given(project, package, ["*.csv"])
    # What it wrote itself is not taken for somebody else's.
    third = publish_given(project, package, ["**/*.csv"])

    assert (second.job, third.job) == (first.job, first.job)
    assert second.counts == first.counts
    assert sorted(str(file) for file in project.folder.rglob("*.*") if ".limner" not in str(file)) == before


def test_files_of_the_original_have_more_columns_than_are_asked(project: Project, package: Package) -> None:
    """An index column and columns that the model does not have are left alone, in whatever order they stand."""
    line = f"17,x,soluble,{key_of(1)},2,C,0.5"
    (project.folder / "a.csv").write_text(f",Unnamed: 0,class,key,rings,input,weight\n{line}\n")

    outcome = publish_given(project, package, ["a.csv"])

    assert values(stored(project, outcome, [key_of(1)]), 1) == (0.5, 2, "soluble")


def test_a_file_without_a_column_stops_all(project: Project, package: Package) -> None:
    """A column of the model that a file lacks is a mistake of the file: nothing of any file is taken."""
    (project.folder / "a.csv").write_text(f"key,input,weight,rings,class\n{key_of(1)},C,1,1,x\n")
    (project.folder / "b.csv").write_text(f"key,input,mw\n{key_of(2)},CC,1\n")

    with pytest.raises(UsageError, match=r"b\.csv lacks weight, rings, class"):
        publish_given(project, package, ["*.csv"])

    assert not (project.folder / "out").exists()


def test_no_file_is_told(project: Project, package: Package) -> None:
    """A pattern that names no file is answered, not taken for an empty job."""
    with pytest.raises(NotFound, match=r"out/\*\.csv"):
        publish_given(project, package, ["out/*.csv"])


def test_keys_by_md5_are_told_by_the_first_row(project: Project, package: Package) -> None:
    """The scheme is that of the first key, unless it is asked for."""
    rows = [f"{n:032x},C{n},1.0,1,x" for n in range(3)]
    (project.folder / "a.csv").write_text("\n".join(["key,input,weight,rings,class", *rows]))

    told = publish_given(project, package, ["a.csv"])
    with pytest.raises(UsageError, match="another table"):
        publish_given(project, package, ["a.csv"], scheme=KeyScheme.INCHIKEY)

    assert (told.key_scheme, told.counts.stored) == (KeyScheme.MD5, 3)


def test_strict_refuses_what_lacks_a_value(project: Project, package: Package) -> None:
    """Asked to be strict, a row without a value in one column is set aside."""
    rows = [f"{key_of(1)},C,1.0,,x", f"{key_of(2)},CC,1.0,1,x"]
    (project.folder / "a.csv").write_text("\n".join(["key,input,weight,rings,class", *rows]))

    outcome = publish_given(project, package, ["a.csv"], strict=True)

    assert (outcome.counts.stored, outcome.by_row) == (1, {1: "no_output"})
    assert "1 of 3 columns" in aside(project, outcome)[1][1]


def test_large_whole_numbers_stay_whole(project: Project, package: Package) -> None:
    """A whole number beyond what a float can hold comes back to the last digit."""
    (project.folder / "a.csv").write_text(f"key,input,weight,rings,class\n{key_of(1)},C,1,9007199254740993,x\n")

    outcome = publish_given(project, package, ["a.csv"])

    assert values(stored(project, outcome, [key_of(1)]), 1) == (1.0, 9007199254740993, "x")


@pytest.mark.real_data
def test_e24_the_files_of_the_original(project: Project, tmp_path: Path, shared_data: Path) -> None:
    """The original's own output, CRLF and all, is stored: 30 keys with the weights that it says."""
    package = package_of(tmp_path / "eos3b5e", [Column(name="mw", type=ColumnType.FLOAT)])
    file = shared_data / "ersilia" / "upstream" / "test_output.csv"

    outcome = publish_given(project, package, [os.fspath(file)])

    with file.open(newline="") as stream:
        rows = {row["key"]: (float(row["mw"]),) for row in csv.DictReader(stream)}
    found = stored(project, outcome, list(rows))
    assert len(rows) == 30
    assert {key: one.values for key, one in found.items()} == rows
