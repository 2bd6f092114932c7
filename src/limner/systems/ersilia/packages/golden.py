"""Checks a package against its own golden example: twice, so that it shows, too, whether it answers alike."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path

from msgspec import Struct, field, structs

from limner.settings import load_project
from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.packages.base import Golden, OutputRefused, Package, PackageWrong
from limner.systems.ersilia.packages.cells import Cells
from limner.systems.ersilia.packages.environment import differences, environment_of, folder_of, own_interpreter
from limner.systems.ersilia.packages.table_file import cells_of_text
from limner.systems.ersilia.packages.trial import by_command, by_function, by_server

#: How far a float may be off, relative to what is expected and never less than to 1: packages write float32, too.
TOLERANCE = 1e-6
#: Cells that a sentence shows.
_SHOWN = 3


class Verdict(Struct, frozen=True, kw_only=True):
    """What a check of a package found."""

    model: str
    release: str
    #: Whether it gave here what its golden output says.
    reproduced: bool
    #: Whether its two runs answered alike.
    deterministic: bool
    #: Python's version and those of the pinned packages, where it ran.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Columns whose golden values were not reproduced.
    columns: tuple[str, ...] = ()
    #: A sentence each, of why it is refused; it may be used where there is none.
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    #: How long each run took.
    seconds: tuple[float, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether a job may use it unasked."""
        return not self.problems


def check_package(
    package: Package, *, code: Package | None = None, limit: timedelta | None = None, project: Path | None = None
) -> Verdict:
    """
    Run the package twice on its golden input and compare with its golden output.

    The first run is one of ``run.sh``; the second is one of its function, where it has one that a worker would call.
    One that is served is asked twice.
    *code* is where to find both, for a package that is only described. *limit* is the time of one run, by default the
    package's own. Environments are those of *project*, by default of this folder.
    """
    found = Verdict(
        model=package.id, release=package.release, reproduced=False, deterministic=True, warnings=package.warnings
    )
    runnable = package if code is None else _with_code(package, code)
    try:
        environment = _environment(package, project=project)
    except PackageWrong as error:
        return structs.replace(found, problems=(f"{error} {_how_to_install(package)}",))
    found = structs.replace(found, environment=environment)
    if package.golden is None or not package.golden.smiles:
        told = f"{package.id} has no golden example, so nothing shows that it gives here what it gave at home."
        return structs.replace(found, problems=(told,))
    if runnable.run is None and package.served is None:
        return structs.replace(found, problems=(f"{package.id} has no run.sh in {package.framework}; add it.",))
    try:
        wanted = _expected(package.golden, package.columns)
        first, second, seconds = _two_runs(
            runnable,
            package.golden,
            limit=limit or package.performance.limit,
            project=project,
        )
    except OutputRefused as refused:
        return structs.replace(found, problems=(f"{refused}", *_elsewhere(package, environment)))
    return _judged(structs.replace(found, seconds=seconds), package, wanted=wanted, first=first, second=second)


def _with_code(package: Package, code: Package) -> Package:
    """*package* as it says of itself, run by the code of another one."""
    return structs.replace(package, framework=code.framework, folder=code.folder, in_process=code.in_process)


def _environment(package: Package, *, project: Path | None) -> Mapping[str, str]:
    """What a worker would say of where it runs."""
    return {"served": package.served} if package.served else environment_of(package.needs, project=project)


def _two_runs(
    package: Package, golden: Golden, *, limit: timedelta, project: Path | None
) -> tuple[Cells, Cells, tuple[float, ...]]:
    once, again = _ways(package, golden.smiles, limit=limit, project=project)
    began = time.perf_counter()
    first = once()
    between = time.perf_counter()
    second = again()
    return first, second, (between - began, time.perf_counter() - between)


def _ways(
    package: Package, smiles: tuple[str, ...], *, limit: timedelta, project: Path | None
) -> tuple[Callable[[], Cells], Callable[[], Cells]]:
    """How it is run once, and how again: as a worker would, where that is another way."""
    if package.served is not None:
        allowed = load_project(project or Path()).settings.allow_hosts
        asked = partial(by_server, package, smiles, limit=limit, allow_hosts=allowed)
        return asked, asked
    interpreter = own_interpreter(package.needs, project=project)
    called = partial(by_command, package, smiles, limit=limit, interpreter=interpreter)
    if package.in_process is None or interpreter is not None:
        return called, called
    return called, partial(by_function, package, smiles, limit=limit)


def _expected(golden: Golden, columns: tuple[Column, ...]) -> Cells:
    wanted = cells_of_text(golden.header, golden.rows, columns=columns, count=len(golden.smiles))
    wrong = next((refused for refused in wanted.refused.values() if refused.reason == "bad_type"), None)
    if wrong is not None:
        raise OutputRefused("bad_type", f"in the golden output, {str(wrong).partition(': ')[2]}")
    return wanted


def _judged(found: Verdict, package: Package, *, wanted: Cells, first: Cells, second: Cells) -> Verdict:
    """*found* with what the two runs show."""
    problems = [
        str(refused) for run in (first, second) for refused in run.refused.values() if refused.reason != "no_output"
    ]
    apart = _columns_apart(first, second, exactly=True)
    if apart and package.consistency == "Fixed":
        told = f"Two runs on the same input differ in {_named(tuple(apart), package)}"
        problems.append(f"{told}, and the metadata say that the output is Fixed.")
    # What answers otherwise each time reproduces nothing, and is not asked to.
    off = {} if apart else _columns_apart(first, wanted, exactly=False)
    if off:
        shown = "; ".join(told for told in list(off.values())[:_SHOWN])
        problems.append(f"The golden output is not reproduced in {_named(tuple(off), package)}. {shown}.")
        problems += _elsewhere(package, found.environment)
    return structs.replace(
        found,
        reproduced=not problems,
        deterministic=not apart,
        columns=tuple(off),
        problems=tuple(dict.fromkeys(problems)),
    )


def _columns_apart(found: Cells, wanted: Cells, *, exactly: bool) -> dict[str, str]:
    """By the name of each column that differs: where it does first, and how."""
    apart: dict[str, str] = {}
    for column, ours, theirs in zip(found.columns, found.strips, wanted.strips, strict=True):
        for row, (one, other) in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True), start=1):
            if not _same(one, other, column=column, exactly=exactly):
                apart[column.name] = f"Row {row}, column {column.name}: {_told(one)} and not {_told(other)}"
                break
    return apart


def _same(found: Cell, wanted: Cell, *, column: Column, exactly: bool) -> bool:
    if exactly or column.type is not ColumnType.FLOAT or found is None or wanted is None:
        return found == wanted
    return abs(float(found) - float(wanted)) <= TOLERANCE * max(1.0, abs(float(wanted)))


def _told(cell: Cell) -> str:
    return "no value" if cell is None else repr(cell)


def _named(columns: tuple[str, ...], package: Package) -> str:
    if len(columns) == 1:
        return f"column {columns[0]}"
    return f"{len(columns):,} of {len(package.columns):,} columns: {', '.join(columns)}"


def _elsewhere(package: Package, environment: Mapping[str, str]) -> list[str]:
    """What is installed here in another version than the package was made with, as a sentence."""
    other = differences(package.needs, environment)
    if not other:
        return []
    return [f"Its environment is another one here: {'; '.join(other)}. {_how_to_install(package)}"]


def _how_to_install(package: Package) -> str:
    return f"`limner models install {package.folder}` builds what it pins in {folder_of(package.needs)}."
