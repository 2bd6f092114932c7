"""Model packages are read in both layouts, with whatever line ends and gaps their files have."""

from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from shutil import copytree

import pytest

from limner.errors import UsageError
from limner.systems.ersilia.columns import Column, ColumnType
from limner.systems.ersilia.packages.archive import unpack
from limner.systems.ersilia.packages.base import Performance
from limner.systems.ersilia.packages.packing import pack
from limner.systems.ersilia.packages.reading import HUB, find_packages, read_package
from limner.systems.ersilia.packages.releases import release_of
from tests.systems.ersilia.made_packages import made

COLUMNS = "name,type,direction,description\nvalue,float,high,what it is worth\n"


def flat(
    folder: Path, *, metadata: str = '{"Identifier": "eos0flt", "Release": "v2.1.0"}', columns: str = COLUMNS
) -> Path:
    """A package whose files lie in one folder."""
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(metadata, encoding="utf-8")
    (folder / "run_columns.csv").write_bytes(columns.encode())
    return folder


def test_the_hub_s_layout_is_read(tmp_path: Path) -> None:
    """All that a package says of itself, from its own files."""
    package = read_package(made(tmp_path, pins={"rdkit": "2024.9.5"}, in_process=True, seconds=(9, 9, 10, 12, 30)))

    assert (package.id, package.release, package.consistency) == ("eos0pln", "v1.0.0", "Fixed")
    assert package.columns == (Column(name="value", type=ColumnType.INTEGER, description="made by a test"),)
    assert (package.needs.python, package.needs.pins) == ("3.11", {"rdkit": "2024.9.5"})
    assert package.in_process == "code/model.py:predict"
    assert package.golden
    assert (package.golden.smiles, package.golden.rows) == (("CC", "CCO", "CCCO"), (("2",), ("3",), ("4",)))
    assert package.run
    assert (package.wide, package.warnings) == (False, ())


def test_the_flat_layout_is_read(tmp_path: Path) -> None:
    """Four files in one folder, and the pins in a table beside the packages."""
    package = flat(tmp_path / "eos0flt")
    (tmp_path / "environments.csv").write_text("model_id,python,pins\neos0flt,3.10,rdkit==2022.9.5 numpy==1.26.4\n")

    found = read_package(package)

    assert (found.id, found.release, found.run, found.golden) == ("eos0flt", "v2.1.0", None, None)
    assert (found.needs.python, found.needs.pins) == ("3.10", {"rdkit": "2022.9.5", "numpy": "1.26.4"})


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_columns_are_read_with_any_line_ends(tmp_path: Path, end: str, last: bool, mark: str) -> None:
    """CRLF or LF, a final newline or none, a byte order mark or none: the same columns."""
    lines = ["name,type,direction,description", 'one,integer,low,"a, b"', "two,string,,"]
    text = mark + end.join(lines) + (end if last else "")
    assert read_package(flat(tmp_path / "p", columns=text)).columns == (
        Column(name="one", type=ColumnType.INTEGER, direction="low", description="a, b"),
        Column(name="two", type=ColumnType.STRING),
    )


@pytest.mark.parametrize("release", ["", ', "Release": ""', ', "Release": null'])
def test_a_package_without_a_release_is_told(tmp_path: Path, release: str) -> None:
    """Absent or empty: its version is v0.0.0 and a digest, and a warning says so."""
    package = read_package(flat(tmp_path / "p", metadata=f'{{"Identifier": "eos7jio"{release}}}'))
    assert package.release == "v0.0.0"
    assert "eos7jio names no release" in package.warnings[0]
    assert release_of(package, environment={"python": "3.11"}).version.startswith("v0.0.0+")


@pytest.mark.parametrize("architecture", ['"AMD64"', '["AMD64", "ARM64"]', "null"])
def test_lists_may_be_strings(tmp_path: Path, architecture: str) -> None:
    """Some packages write one string where others write a list."""
    metadata = f'{{"Identifier": "eos9ei3", "Docker Architecture": {architecture}, "Output": "Score"}}'
    assert read_package(flat(tmp_path / "p", metadata=metadata)).outputs == ("Score",)


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ("{", "cannot be read"),
        ('{"Slug": "x"}', "Identifier: Field required"),
        ('{"Identifier": "eos12345"}', "Identifier"),
        ('{"Identifier": "eos3b5e", "Release": "1.0"}', "write it as v1.0.0"),
        ('{"Identifier": "eos3b5e", "Output Consistency": "Often"}', "Output Consistency"),
        ('{"Identifier": "eos3b5e", "Output Dimension": "many"}', "Output Dimension"),
        ("[1]", "metadata.json"),
    ],
)
def test_wrong_metadata_name_the_field(tmp_path: Path, metadata: str, told: str) -> None:
    """The sentence says which file and which field is wrong."""
    with pytest.raises(UsageError, match=r"metadata\.json") as wrong:
        read_package(flat(tmp_path / "p", metadata=metadata))
    assert told in str(wrong.value)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("", "its header is ''"),
        ("name,kind\nvalue,float\n", "its header is 'name,kind'"),
        ("name,type,direction,description\n", "lists no column"),
        ("name,type,direction,description\nvalue,number,,\n", "row 1: 'number' is no type"),
        ("name,type,direction,description\nvalue,float,up,\n", "row 1: 'up' is no direction"),
        ("name,type,direction,description\nvalue,float\n", "row 1 has 2 fields"),
        ("name,type,direction,description\na,float,,\na,float,,\n", "the column a stands twice"),
    ],
)
def test_wrong_columns_name_the_row(tmp_path: Path, columns: str, told: str) -> None:
    """The sentence says which row of run_columns.csv is wrong, and how."""
    with pytest.raises(UsageError, match=r"run_columns\.csv") as wrong:
        read_package(flat(tmp_path / "p", columns=columns))
    assert told in str(wrong.value)


def test_a_folder_without_metadata_is_no_package(tmp_path: Path) -> None:
    """It is told by what it lacks."""
    with pytest.raises(UsageError, match="is no model package"):
        read_package(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "python", "pins"),
    [
        (
            "install.yml",
            'python: "3.10"\ncommands:\n  - [pip, rdkit, 2022.9.5]\n  - pip install numpy==1.26.4 --no-deps\n',
            "3.10",
            {"rdkit": "2022.9.5", "numpy": "1.26.4"},
        ),
        ("install.yml", "python: 3.12\ncommands: []\n", "3.12", {}),
        ("install.yml", "commands:\n  - [conda, RDKit, 2020.09.1, conda-forge]\n", None, {"rdkit": "2020.09.1"}),
        (
            "Dockerfile",
            "FROM some/base:0.11.0-py310\nRUN pip install rdkit==2022.9.5 && \\\n    pip install scikit_learn\n",
            "3.10",
            {"rdkit": "2022.9.5", "scikit-learn": ""},
        ),
        (
            "Dockerfile",
            'FROM python:3.12-slim\nRUN python -m pip install "rdkit==2024.9.6"\n',
            "3.12",
            {"rdkit": "2024.9.6"},
        ),
    ],
)
def test_pins_are_read_from_either_recipe(
    tmp_path: Path, file: str, text: str, python: str | None, pins: dict[str, str]
) -> None:
    """Python's version and the pins, from install.yml or from a Dockerfile's RUN lines."""
    folder = flat(tmp_path / "p")
    (folder / file).write_text(text)
    needs = read_package(folder).needs
    assert (needs.python, dict(needs.pins)) == (python, pins)


@pytest.mark.parametrize(
    ("seconds", "batch", "limit", "thousand"),
    [
        ((27.8, 17.5, 17.51, 19.48, 28.21), 10_000, 136.05, 18.48),
        ((1.0, 1.0, 2.0, 5.0, None), 1_000, 60.0, 5.33),
        ((1.0, 1.0, None, None, None), 10, 60.0, 1.0),
        ((None, None, None, None, None), 1_000, 60.0, 0.0),
    ],
)
def test_figures_give_batch_limit_and_estimate(
    seconds: tuple[float | None, ...], batch: int, limit: float, thousand: float
) -> None:
    """The largest size that went well, five times what it takes but a minute at least, and a straight line."""
    found = Performance(seconds=seconds)
    assert found.batch == batch
    assert found.limit.total_seconds() == pytest.approx(limit)
    assert found.estimate(1_000).total_seconds() == pytest.approx(thousand, abs=0.01)
    assert found.estimate(1_000, calls=3) >= found.estimate(1_000) >= timedelta()


def test_packing_depends_on_nothing_but_the_files(tmp_path: Path) -> None:
    """A copy with other times and modes, and leftovers of a run, gives the same bytes; one changed byte does not."""
    # given
    first = read_package(made(tmp_path / "one"))
    copy = copytree(first.folder, tmp_path / "two" / "eos0pln")
    (copy / "metadata.yml").touch()
    (copy / "metadata.yml").chmod(0o600)
    (copy / "model" / "framework" / "code" / "__pycache__").mkdir()
    (copy / "model" / "framework" / "code" / "__pycache__" / "model.pyc").write_bytes(b"x")
    second = read_package(copy)

    # when
    packed = [pack(package, into=tmp_path / name) for package, name in ((first, "a"), (second, "b"))]

    # then
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert {sha256(file.read_bytes()).hexdigest() for file in packed} == {first.digest} == {second.digest}
    assert read_package(unpack(packed[0], into=tmp_path / "c")).columns == first.columns
    (copy / "metadata.yml").write_text((copy / "metadata.yml").read_text() + "\n")
    assert second.digest != first.digest


def test_packing_refuses_what_is_not_the_package_s(tmp_path: Path) -> None:
    """A link that leads out of the folder is not followed, and a package without a command cannot be run."""
    package = read_package(made(tmp_path / "one"))
    (package.framework / "secret").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match="a link that leads out"):
        pack(package, into=tmp_path / "out")
    with pytest.raises(UsageError, match=r"has no run\.sh"):
        pack(read_package(flat(tmp_path / "two")), into=tmp_path / "out")


def test_a_project_s_package_wins_over_a_shipped_one(tmp_path: Path) -> None:
    """Folders are looked through in their order; a package in a folder of another name is refused."""
    own = made(tmp_path, "eos3b5e")
    found = find_packages(HUB, tmp_path, tmp_path / "absent")
    assert found["eos3b5e"].folder == own
    assert list(found) == sorted(found)
    own.rename(tmp_path / "eos0oth")
    with pytest.raises(UsageError, match="name the folder eos3b5e"):
        find_packages(tmp_path)
