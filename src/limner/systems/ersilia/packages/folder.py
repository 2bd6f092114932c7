"""From a folder to the model package in it, in the hub's layout or with all files in one folder; plain."""

import csv
from pathlib import Path

from limner.systems.ersilia.columns import Column, ColumnType
from limner.systems.ersilia.packages.base import Golden, Package, PackageWrong, Performance
from limner.systems.ersilia.packages.metadata import Metadata, read_metadata
from limner.systems.ersilia.packages.pins import read_needs

_HEADER = ["name", "type", "direction", "description"]
#: The release of a package that names none.
_UNRELEASED = "v0.0.0"


def read_folder(folder: Path) -> Package:
    """
    The model package in *folder*.

    Raises:
        PackageWrong: it is none, or one of its files is wrong; the sentence names the file and what is wrong.
    """
    said = read_metadata(folder)
    framework = folder / "model" / "framework"
    framework = framework if framework.is_dir() else folder
    columns = read_columns(_found(framework, "columns", "run_columns.csv"))
    return Package(
        id=said.identifier,
        folder=folder,
        framework=framework,
        release=said.release or _UNRELEASED,
        columns=columns,
        slug=said.slug,
        title=said.title,
        task=said.task,
        outputs=said.output,
        consistency=said.output_consistency,
        licence=said.licence,
        performance=Performance(seconds=said.seconds()),
        needs=read_needs(folder, model=said.identifier),
        golden=_golden(framework),
        in_process=said.in_process,
        served=said.served,
        warnings=_warnings(said, columns),
    )


def read_columns(path: Path) -> tuple[Column, ...]:
    """
    The columns that *path*, a ``run_columns.csv``, lists.

    Raises:
        PackageWrong: it has another header, a row of another length, an unknown type, or a name twice.
    """
    header, *rows = _rows(path) or [[]]
    if [name.strip() for name in header] != _HEADER:
        raise PackageWrong(f"{path}: its header is {','.join(header)!r}; write {','.join(_HEADER)}.")
    columns = tuple(_column(path, number, row) for number, row in enumerate(rows, start=1))
    names = [column.name for column in columns]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None or not columns:
        raise PackageWrong(f"{path}: the column {twice} stands twice." if twice else f"{path} lists no column.")
    return columns


def _column(path: Path, number: int, row: list[str]) -> Column:
    if len(row) != len(_HEADER) or not row[0].strip():
        raise PackageWrong(f"{path}: row {number} has {len(row)} fields; write {','.join(_HEADER)}.")
    name, kind, direction, description = (cell.strip() for cell in row)
    if kind not in list(ColumnType):
        raise PackageWrong(f"{path}: row {number}: {kind!r} is no type; write {', '.join(ColumnType)}.")
    if direction not in ("high", "low", ""):
        raise PackageWrong(f"{path}: row {number}: {direction!r} is no direction; write high, low or nothing.")
    return Column(name=name, type=ColumnType(kind), direction=direction, description=description)


def _golden(framework: Path) -> Golden | None:
    given = _found(framework, "examples", "run_input.csv")
    answered = _found(framework, "examples", "run_output.csv")
    if not (given.is_file() and answered.is_file()):
        return None
    inputs = _rows(given, blanks=True)
    header, *rows = _rows(answered, blanks=True) or [[]]
    return Golden(
        smiles=tuple(row[0] if row else "" for row in inputs[1:]),
        header=tuple(header),
        # An empty line is the row of a package with one column that had no value.
        rows=tuple(tuple(row or [""]) for row in rows),
    )


def _found(framework: Path, folder: str, name: str) -> Path:
    """A file of the framework in its folder, or beside the others."""
    own = framework / folder / name
    return own if own.is_file() else framework / name


def _rows(path: Path, *, blanks: bool = False) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if row or blanks]
    except FileNotFoundError as error:
        raise PackageWrong(f"{path} is missing; a package needs it.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PackageWrong(f"{path} cannot be read: {error}") from error


def _warnings(said: Metadata, columns: tuple[Column, ...]) -> tuple[str, ...]:
    found = []
    if said.release is None:
        found.append(f"{said.identifier} names no release; its version is {_UNRELEASED}+ and a digest.")
    if said.output_dimension is not None and said.output_dimension != len(columns):
        told = f"says that it has {said.output_dimension} outputs, and lists {len(columns)} columns"
        found.append(f"{said.identifier} {told}; the columns count.")
    if not any(said.seconds()):
        found.append(f"{said.identifier} does not say how long it takes, so nothing can be estimated.")
    return tuple(found)
