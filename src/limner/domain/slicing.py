"""Pipelines over slices of a table: a record is thousands of rows, and an inferrer is given whole columns of them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, structs

from limner.domain.outputs import AnyOutput, Artifact, Number
from limner.domain.reads import MEGABYTE, Read, file
from limner.domain.values import Value
from limner.errors import ConfigurationError

if TYPE_CHECKING:
    # Pipelines know of slices, and not the other way round.
    from limner.domain.pipelines import Implementation, Stage

#: The inferrer that runs a user's over slices.
COLUMNS = "columns"
#: The field of a slice that names its rows: an Arrow file among the artifacts.
SLICE = "slice"
#: The output of a stage that names what it said of a slice's rows: a Parquet file among the artifacts.
TABLE = "table"
#: Media type of a slice's rows.
ARROW = "application/vnd.apache.arrow.file"
#: The column of the rows' ids.
ID = "id"
#: Columns that stand beside the outputs: the failure's code and its message, and why a row was skipped.
FAILED, MESSAGE, SKIPPED = "_failed", "_message", "_skipped"
#: Bytes that the rows of one slice may take.
MOST_BYTES = 512 * MEGABYTE


class Columns(Struct, frozen=True, kw_only=True):
    """What the inferrer ``columns`` is told: whose columns it hands to whom."""

    #: The user's inferrer, ``package.module:Name``.
    infer: str
    params: Mapping[str, Value]
    #: By the name of the input: ``slice`` or an earlier stage, and the column there.
    reads: Mapping[str, tuple[str, str]]
    #: Inputs that may be null; of the others a row without one is skipped.
    optional: tuple[str, ...]
    #: Why a row without the input is skipped, by its name.
    absent: Mapping[str, str]
    #: What the user's inferrer declares.
    outputs: Mapping[str, AnyOutput]


def name_of_slice(table: str, number: int) -> str:
    """The id of the record that is this slice of a table, counted from 0."""
    return f"{table}:{number:06d}"


def sliced(stages: "Iterable[Stage]") -> "list[Stage]":
    """
    The stages over slices that do what *stages* declare over rows.

    Raises:
        ConfigurationError: a stage does what cannot be done over slices; the sentence says which and what.
    """
    made: list[Stage] = []
    for stage in stages:
        _refuse(stage)
        made.append(_over_slices(stage, earlier=[one.name for one in made]))
    return made


def _over_slices(stage: "Stage", *, earlier: list[str]) -> "Stage":
    ways, owners = {}, {SLICE}
    for name, way in stage.implementations.items():
        reads = {key: _place(read, earlier) for key, read in stage.reads_of(name).items()}
        owners |= {owner for owner, _ in reads.values()}
        ways[name] = structs.replace(way, infer=COLUMNS, params=_told(stage, way, reads), reads=None, when=None)
    whole = {owner: SLICE if owner == SLICE else f"{owner}.{TABLE}" for owner in sorted(owners)}
    return structs.replace(
        stage,
        implementations=ways,
        reads={owner: file(path, max_bytes=MOST_BYTES) for owner, path in whole.items()},
        outputs={
            TABLE: Artifact(kind="application/vnd.apache.parquet", max_bytes=MOST_BYTES),
            "rows": Number(whole=True, least=0),
            "failed": Number(whole=True, least=0),
            "skipped": Number(whole=True, least=0),
        },
        batch=1,
        task_size=1,
    )


def _told(stage: "Stage", way: "Implementation", reads: Mapping[str, tuple[str, str]]) -> Mapping[str, Value]:
    """The parameters of ``columns``, as plain values that stand in the version."""
    given = way.reads if way.reads is not None else stage.reads
    declared = {name: Read(path=read) if isinstance(read, str) else read for name, read in given.items()}
    told = Columns(
        infer=way.infer,
        params=way.params,
        reads=reads,
        optional=tuple(sorted(name for name, read in declared.items() if read.optional)),
        absent={name: read.absent_reason for name, read in declared.items() if not read.optional},
        outputs=stage.outputs,
    )
    plain: Mapping[str, Value] = msgspec.to_builtins(told, builtin_types=(bytes,))
    return plain


def _place(read: Read, earlier: list[str]) -> tuple[str, str]:
    """The slice or the stage whose column *read* names, and the column."""
    first, _, rest = read.path.partition(".")
    return (first, rest or "value") if first in earlier else (SLICE, read.path)


def _refuse(stage: "Stage") -> None:
    """Refuse what takes records one by one."""
    reads = [read for way in stage.implementations for read in stage.reads_of(way).values()]
    problems = {
        f"{stage.kind.value}s, and over slices there are only map stages": stage.kind != "map",
        "has a condition; over slices its inferrer decides, or reads what may be null as optional(…)": any(
            stage.when_of(way) for way in stage.implementations
        ),
        "is a gate, which goes without slices": stage.gate,
        "is named slice, which is what the rows themselves are read by": stage.name == SLICE,
        "reads a file; rows of a slice hold numbers and strings": any(read.file for read in reads),
        "reads of a parent; rows of a slice have none": any(read.path.startswith("parent.") for read in reads),
        "is about another collection; rows of a slice have none": stage.over is not None,
        "answers with files; rows of a slice hold numbers and strings": any(
            isinstance(output, Artifact) for output in stage.outputs.values()
        ),
        "is done by a built-in inferrer, which takes records one by one": any(
            ":" not in way.infer for way in stage.implementations.values()
        ),
    }
    for problem, found in problems.items():
        if found:
            raise ConfigurationError(f"Stage {stage.name} {problem}.")
