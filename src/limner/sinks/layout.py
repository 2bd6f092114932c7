"""The columns of an export: which fields and values there are, and of what kind."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from msgspec import Struct, field

from limner.domain.outputs import AnyOutput, Anything, Artifact, Bytes, Flag, Number, Strings, Text, Vector
from limner.domain.records import ExportRow
from limner.domain.values import Value
from limner.errors import UsageError

_INT64 = range(-(2**63), 2**63)


class Kind(StrEnum):
    """What the cells of a column hold."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    FLAG = "flag"
    STRINGS = "strings"
    BYTES = "bytes"
    VECTOR = "vector"
    #: Anything else, and fields of mixed kinds, as JSON text.
    JSON = "json"


#: Where the value of a column stands: ``("record", "id")``, ``("field", name)``, ``("value", stage, name)``,
#: ``("value", stage)`` for a stage without declared outputs, ``("made", stage, "version")``.
Place: TypeAlias = tuple[str, ...]


class Column(Struct, frozen=True, kw_only=True):
    """One column of a table."""

    name: str
    kind: Kind
    place: Place


class Layout(Struct, frozen=True, kw_only=True):
    """What the rows of an export hold."""

    #: Kinds of the fields, by name.
    fields: Mapping[str, Kind] = field(default_factory=dict)
    #: Declared outputs by stage; none where a stage declares nothing.
    outputs: Mapping[str, Mapping[str, AnyOutput]] = field(default_factory=dict)

    def columns(self) -> list[Column]:
        """
        All columns: the record, its fields, and for each stage its outputs and what made them.

        A field is called as it is, or ``fields.NAME`` where a column of that name stands already; an output is
        called ``stage.output``, its provenance ``stage.@version``, ``stage.@model`` (SHA-256) and ``stage.@input``.
        """
        columns = [
            Column(name="id", kind=Kind.TEXT, place=("record", "id")),
            Column(name="parent_collection", kind=Kind.TEXT, place=("record", "parent_collection")),
            Column(name="parent_id", kind=Kind.TEXT, place=("record", "parent_id")),
            Column(name="revision", kind=Kind.TEXT, place=("record", "revision")),
            Column(name="source_version", kind=Kind.WHOLE, place=("record", "source_version")),
        ]
        inferred = [column for stage, outputs in self.outputs.items() for column in _of_stage(stage, outputs)]
        taken = {column.name for column in columns + inferred}
        for name, kind in self.fields.items():
            free = name
            while free in taken:
                free = f"fields.{free}"
            taken.add(free)
            columns.append(Column(name=free, kind=kind, place=("field", name)))
        return columns + inferred

    def check(self, row: ExportRow) -> None:
        """
        Make sure that *row* holds nothing beyond the layout.

        Raises:
            UsageError: it gained a field or a stage since the layout was made.
        """
        new = [name for name in row.record.fields if name not in self.fields]
        new += [stage for stage in row.values if stage not in self.outputs]
        if new:
            raise UsageError(f"{row.record.id} gained {', '.join(new)} during the export; run it again.")


def survey(rows: Iterable[ExportRow], *, outputs: Mapping[str, Mapping[str, AnyOutput]]) -> Layout:
    """
    The layout of *rows*, by one pass over them in constant memory.

    A field has a column of one kind where all its values are of it, and of JSON text otherwise (whole numbers beside
    fractions too, which keeps each what it was). None says nothing about a kind.
    """
    kinds: dict[str, Kind | None] = {}
    for row in rows:
        for name, value in row.record.fields.items():
            kinds[name] = _joined(kinds.get(name), _kind_of(value))
    return Layout(fields={name: kind or Kind.JSON for name, kind in kinds.items()}, outputs=outputs)


def value_at(row: ExportRow, place: Place) -> Value:
    """What stands in *row* at *place*; None where there is nothing."""
    kind, name = place[0], place[1]
    if kind == "field":
        return row.record.fields.get(name)
    if kind == "value":
        value = row.values.get(name)
        return value if len(place) == 2 else _output(value, name=place[2])
    if kind == "made":
        made = row.provenance.get(name)
        return None if made is None else getattr(made, place[2])
    if name.startswith("parent_"):
        parent = row.record.parent
        return None if parent is None else parent[0 if name == "parent_collection" else 1]
    return getattr(row.record, name)


def _output(value: Value, *, name: str) -> Value:
    return value.get(name) if isinstance(value, dict) else None


def _of_stage(stage: str, outputs: Mapping[str, AnyOutput]) -> list[Column]:
    if outputs:
        found = [
            Column(name=f"{stage}.{name}", kind=_declared(output), place=("value", stage, name))
            for name, output in outputs.items()
        ]
    else:
        found = [Column(name=stage, kind=Kind.JSON, place=("value", stage))]
    return found + [
        Column(name=f"{stage}.@{name}", kind=Kind.TEXT, place=("made", stage, name))
        for name in ("version", "model", "input")
    ]


def _declared(output: AnyOutput) -> Kind:
    """The kind of the column of a declared output."""
    if isinstance(output, Number):
        return Kind.WHOLE if output.whole else Kind.NUMBER
    kinds: dict[type[Any], Kind] = {
        Text: Kind.TEXT,
        Artifact: Kind.JSON,
        Flag: Kind.FLAG,
        Strings: Kind.STRINGS,
        Bytes: Kind.BYTES,
        Vector: Kind.VECTOR,
        Anything: Kind.JSON,
    }
    return kinds[type(output)]


def _kind_of(value: Value) -> Kind | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return Kind.FLAG
    if isinstance(value, str):
        return Kind.TEXT
    if isinstance(value, int):
        return Kind.WHOLE if value in _INT64 else Kind.JSON
    return Kind.NUMBER if isinstance(value, float) else Kind.JSON


def _joined(one: Kind | None, other: Kind | None) -> Kind | None:
    """The kind that holds values of both kinds."""
    if one is None or other is None or one is other:
        return one or other
    return Kind.JSON
