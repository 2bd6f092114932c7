"""Libraries are read in every shape that they come in, and each of their rows is known by its number."""

import hashlib
from itertools import product
from pathlib import Path

import pytest

from limner.errors import NotFound, UsageError
from limner.systems.ersilia.library.index import IndexRow, Library, LibraryIndex, write_index
from limner.systems.ersilia.library.rows import MAX_SMILES
from limner.systems.ersilia.made_molecules import made_molecules
from limner.systems.ersilia.nouns import KeyScheme
from limner.systems.ersilia.precalc.finding import library_file
from limner.systems.ersilia.reasons import Reason

KEYS = ["OTMSDBZUPAUEDD-UHFFFAOYSA-N", "LFQSCWFLJHTTHZ-UHFFFAOYSA-N"]


def indexed(folder: Path, content: bytes, **how: object) -> tuple[Library, list[IndexRow]]:
    """A library with this content, read into an index."""
    file = folder / "library.csv"
    file.write_bytes(content)
    library = write_index(file, to=folder / "index.parquet", **how)  # type: ignore[arg-type]  # as the test names them
    return library, list(LibraryIndex(folder / "index.parquet").rows())


def reasons(rows: list[IndexRow]) -> dict[int, Reason]:
    """The reasons of the rows that hold no new molecule."""
    return {row.row: row.reason for row in rows if row.reason is not None}


@pytest.mark.parametrize(
    ("number", "header", "ended", "line_end", "mark"),
    list(product((97, 100, 101), ("", "smiles", "Input"), (True, False), ("\n", "\r\n"), (b"", b"\xef\xbb\xbf"))),
)
def test_e5_every_shape_of_a_file_gives_all_rows(
    number: int, header: str, ended: bool, line_end: str, mark: bytes, tmp_path: Path
) -> None:
    """Header or not, final newline or not, LF or CRLF, byte order mark or not: no row is lost and none is added."""
    smiles = made_molecules(number)
    text = line_end.join([header, *smiles] if header else smiles) + (line_end if ended else "")

    library, rows = indexed(tmp_path, mark + text.encode())

    assert [row.smiles for row in rows] == smiles
    assert [row.row for row in rows] == list(range(1, number + 1))
    assert (library.rows, library.molecules, library.blank_lines) == (number, number, 0)


def test_a_first_line_is_a_header_only_by_its_names(tmp_path: Path) -> None:
    """What is no molecule is a bad molecule and no header: the words NaN and None are rows like any other."""
    _, rows = indexed(tmp_path, b"NaN\nNone\nCCO\n")
    assert [row.smiles for row in rows] == ["NaN", "None", "CCO"]


def test_extra_named_columns_are_ignored(tmp_path: Path) -> None:
    """Of a file with a header, the columns that it names are taken, wherever they stand."""
    _, rows = indexed(tmp_path, f"source,Key,SMILES,weight\nx,{KEYS[0]},C=O,1\n".encode())
    assert [(row.key, row.smiles) for row in rows] == [(KEYS[0], "C=O")]


def test_a_header_without_molecules_is_refused(tmp_path: Path) -> None:
    """A header that names keys alone cannot be read as a library, and the sentence names the columns."""
    with pytest.raises(UsageError, match="smiles or input: key, weight"):
        indexed(tmp_path, b"key,weight\nx,1\n")


def test_what_stands_behind_a_blank_is_the_name(tmp_path: Path) -> None:
    """Blanks around are trimmed, and the name is no part of the SMILES."""
    _, rows = indexed(tmp_path, b"smiles\n  CCO  grain alcohol \nCC\tethane\n")
    assert [(row.smiles, row.name) for row in rows] == [("CCO", "grain alcohol"), ("CC", "ethane")]


def test_bad_rows_keep_their_numbers_and_cost_no_neighbour(tmp_path: Path) -> None:
    """Undecodable bytes, too many fields, unended quotes, blanks and endless SMILES are told by number and reason."""
    long = "C" * (MAX_SMILES + 1)
    content = b'smiles\nC\n\nC\xff\nCC,x\n"CC\n"  "\n""\n' + long.encode() + b"\n\nCCC\n"

    library, rows = indexed(tmp_path, content)

    assert reasons(rows) == {
        2: Reason.BAD_ROW,
        3: Reason.BAD_ROW,
        4: Reason.BAD_ROW,
        5: Reason.EMPTY_INPUT,
        6: Reason.EMPTY_INPUT,
        7: Reason.INPUT_TOO_LONG,
    }
    assert rows[7].smiles == "CCC"
    assert (library.rows, library.blank_lines, library.set_aside) == (8, 2, 6)
    assert all(row.message.startswith(f"{row.reason}: ") for row in rows if row.reason)


@pytest.mark.parametrize(
    ("asked", "bad"), [(None, [2, 3, 4]), (KeyScheme.INCHIKEY, [2, 3, 4]), (KeyScheme.MD5, [1, 3, 4])]
)
def test_keys_are_of_one_scheme(asked: KeyScheme | None, bad: list[int], tmp_path: Path) -> None:
    """The scheme is the one that was asked for, else that of the first row's key."""
    md5 = hashlib.md5(b"CC", usedforsecurity=False).hexdigest()
    content = f"key,input\n{KEYS[0]},C=O\n{md5},CC\n,CCC\n{KEYS[1].lower()},CCO\n"

    library, rows = indexed(tmp_path, content.encode(), scheme=asked)

    assert reasons(rows) == dict.fromkeys(bad, Reason.BAD_KEY)
    assert library.scheme is (asked or KeyScheme.INCHIKEY)
    assert library.keyed


def test_two_columns_without_a_header_are_keyed_if_the_first_looks_like_a_key(tmp_path: Path) -> None:
    """A headerless file of keys and molecules needs no option."""
    _, rows = indexed(tmp_path, f"{KEYS[0]},C=O\n{KEYS[1]},CCO\n".encode())
    assert [(row.key, row.smiles) for row in rows] == [(KEYS[0], "C=O"), (KEYS[1], "CCO")]


def test_a_repeat_names_the_first_row(tmp_path: Path) -> None:
    """The same SMILES again is no failure: it points to the row and the record where it stood first."""
    library, rows = indexed(tmp_path, b"smiles\nCCO\nCC\nCCO\n CCO name\n")
    assert reasons(rows) == {3: Reason.DUPLICATE_ROW, 4: Reason.DUPLICATE_ROW}
    assert {row.first for row in rows[2:]} == {1}
    assert {row.record for row in rows[2:]} == {hashlib.md5(b"CCO", usedforsecurity=False).hexdigest()}
    assert (library.molecules, library.duplicate_rows) == (2, 2)


def test_equal_libraries_have_equal_indexes(tmp_path: Path) -> None:
    """The index of a library is known by its digest, so that a stopped command finds what it was at."""
    made = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        indexed(tmp_path / name, "\n".join(made_molecules(500)).encode())
        made.append((tmp_path / name / "index.parquet").read_bytes())
    assert made[0] == made[1]


def test_an_index_is_read_in_batches(tmp_path: Path) -> None:
    """A batch holds ten thousand rows, the last one what is left."""
    smiles = made_molecules(25_000)
    _, rows = indexed(tmp_path, "\n".join(smiles).encode())
    index = LibraryIndex(tmp_path / "index.parquet")
    assert [len(index.batch(number)) for number in range(index.batches)] == [10_000, 10_000, 5_000]
    assert len(index) == len(rows) == 25_000


def test_a_sample_is_its_file_or_the_first_rows(tmp_path: Path) -> None:
    """reference_library_7.csv beside the library is the sample of 7; where there is none, it is the first rows."""
    (tmp_path / "library.csv").write_text("smiles\nC\nCC\nCCC\n")
    (tmp_path / "reference_library_7.csv").write_text("smiles\nCCO\n")

    with library_file("library.csv", folder=tmp_path, sample=7) as beside:
        assert (beside.path.name, beside.sample) == ("reference_library_7.csv", None)
    with library_file("library.csv", folder=tmp_path, sample=2) as first:
        library = write_index(first.path, to=tmp_path / "index", sample=first.sample)
    assert (library.name, library.rows, library.sample) == ("library.csv", 2, 2)


def test_a_library_may_lie_behind_an_address(tmp_path: Path) -> None:
    """What lies in a store is read as what lies in a folder, its subset files too, and keeps its name."""
    (tmp_path / "library.csv").write_text("smiles\nC\nCC\n")
    (tmp_path / "reference_library_1.csv").write_text("smiles\nCCO\n")
    address = f"{tmp_path.as_uri()}/library.csv"

    with library_file(address, folder=Path()) as whole:
        assert (whole.path.name, whole.path.read_text()) == ("library.csv", "smiles\nC\nCC\n")
    with library_file(address, folder=Path(), sample=1) as one:
        assert (one.path.name, one.sample) == ("reference_library_1.csv", None)
    with pytest.raises(NotFound, match=r"none\.csv"), library_file(f"{tmp_path.as_uri()}/none.csv", folder=Path()):
        pass


def test_a_library_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(NotFound, match=r"There is no library .*none\.csv"), library_file("none.csv", folder=tmp_path):
        pass
