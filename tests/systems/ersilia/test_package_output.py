"""What a package answers is checked: first its columns, then every cell, each row by itself."""

from pathlib import Path

import numpy as np
import pytest

from limner.systems.ersilia.columns import Column, ColumnType
from limner.systems.ersilia.packages.base import OutputRefused
from limner.systems.ersilia.packages.cells import Cells, cells_of_rows
from limner.systems.ersilia.packages.table_file import read_output

COLUMNS = tuple(Column(name=str(kind), type=kind) for kind in ColumnType)
HEADER = "float,integer,string\n"


def read(tmp_path: Path, text: str, *, count: int, columns: tuple[Column, ...] = COLUMNS) -> Cells:
    """The cells of a CSV file that holds *text*."""
    path = tmp_path / "output.csv"
    path.write_bytes(text.encode())
    return read_output(path, columns=columns, count=count)


def reasons(cells: Cells) -> dict[int, str]:
    """By row, why it was refused."""
    return {row: refused.reason for row, refused in cells.refused.items()}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells_have_the_types_of_their_columns(tmp_path: Path, end: str) -> None:
    """Numbers as they are written, integral floats as integers, quoted words, blanks around; line ends of any kind."""
    text = f'{HEADER}1,2.0,word\n 137.14199999999997 ,3,"a, b"\n1e-5,9007199254740993,x\n'.replace("\n", end)
    cells = read(tmp_path, text, count=3)
    assert list(cells.rows()) == [
        (1.0, 2, "word"),
        (137.14199999999997, 3, "a, b"),
        (1e-5, 9007199254740993, "x"),
    ]
    assert [type(cell) for cell in next(iter(cells.rows()))] == [float, int, str]
    assert cells.refused == {}


def test_empty_nan_and_infinite_are_no_value(tmp_path: Path) -> None:
    """All are holes; a row of holes alone is refused, one with a value is not."""
    text = f"{HEADER}nan,1,a\ninf,NaN,\n-inf,,\n,,\n1.5,2,\n"
    cells = read(tmp_path, text, count=5)
    assert list(cells.rows()) == [(None, 1, "a"), (None,) * 3, (None,) * 3, (None,) * 3, (1.5, 2, None)]
    assert reasons(cells) == {1: "no_output", 2: "no_output", 3: "no_output"}


def test_every_bad_cell_is_reported_by_its_row(tmp_path: Path) -> None:
    """Words in number columns and 1.5 in an integer column refuse their rows, each told with column and cell."""
    text = f"{HEADER}1,1,a\nmany,1,a\n1,1.5,a\nmore,few,a\n2,2,b\n"
    cells = read(tmp_path, text, count=5)
    assert reasons(cells) == {1: "bad_type", 2: "bad_type", 3: "bad_type"}
    assert str(cells.refused[1]) == "bad_type: column float holds 'many', which is no number."
    assert "column integer holds 1.5, which is no integer" in str(cells.refused[2])
    assert "column float holds 'more'" in str(cells.refused[3])
    assert "column integer holds 'few'" in str(cells.refused[3])
    assert list(cells.rows())[4] == (2.0, 2, "b")


@pytest.mark.parametrize(
    ("text", "reason", "told"),
    [
        ("", "bad_columns", "without a header"),
        ("float,string,integer\n1,a,2\n", "bad_columns", "column 2 is 'string', and 'integer' is declared there"),
        ("float,integer\n1,2\n", "bad_columns", "2 columns came, and 3 are declared"),
        ("key,float,integer,string\nk,1,2,a\n", "bad_columns", "4 columns came, and 3 are declared"),
        (HEADER, "misaligned", "0 rows came for 1 molecules"),
        (f"{HEADER}1,2,a\n3,4,b\n", "misaligned", "2 rows came for 1 molecules"),
        (f"{HEADER}1,2,a,5,6\n", "misaligned", "no table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_whole(tmp_path: Path, text: str, reason: str, told: str) -> None:
    """Columns first, then the number of rows: no row of such a table is taken."""
    with pytest.raises(OutputRefused, match=told) as refused:
        read(tmp_path, text, count=1)
    assert refused.value.reason == reason


def test_a_single_column_keeps_its_empty_lines(tmp_path: Path) -> None:
    """An empty line is the row of a molecule without a value, so that the ones after it keep theirs."""
    column = (Column(name="weight", type=ColumnType.FLOAT),)
    assert list(read(tmp_path, 'weight\n1\n\n3\n""\n', count=4, columns=column).rows()) == [
        (1.0,),
        (None,),
        (3.0,),
        (None,),
    ]


def test_rows_of_a_function_are_checked_alike() -> None:
    """Lists and arrays, with the types of NumPy or Python, and the same reasons."""
    rows = [[1, 2.0, "a"], [np.float64("nan"), np.int32(3), None], [None, None, ""], ["many", 1.5, 7], [0.5, 1, "b"]]
    cells = cells_of_rows(rows, columns=COLUMNS, count=5)
    assert [list(cells.rows())[n] for n in (0, 1, 4)] == [(1.0, 2, "a"), (None, 3, None), (0.5, 1, "b")]
    assert reasons(cells) == {2: "no_output", 3: "bad_type"}
    assert str(cells.refused[3]).count("which is no") == 3

    numbers = tuple(Column(name=kind, type=ColumnType(kind)) for kind in ("float", "integer"))
    array = cells_of_rows(np.array([[1.5, 2.0], [np.nan, np.inf], [2.0, 2.5]]), columns=numbers, count=3)
    assert next(iter(array.rows())) == (1.5, 2)
    assert reasons(array) == {1: "no_output", 2: "bad_type"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([[1.0, 1, "a"]], "misaligned"),
        ([[1.0, 1]] * 2, "bad_columns"),
        ([[1.0, 1, "a"], [1.0]], "bad_columns"),
        (np.zeros((2, 4)), "bad_columns"),
        (np.zeros((3, 3)), "misaligned"),
        (None, "misaligned"),
    ],
)
def test_a_function_that_answers_another_shape_is_refused(answer: object, reason: str) -> None:
    """Another number of rows is misaligned, another number of columns is bad columns."""
    with pytest.raises(OutputRefused) as refused:
        cells_of_rows(answer, columns=COLUMNS, count=2)
    assert refused.value.reason == reason
