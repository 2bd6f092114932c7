"""Records on their way in and out: what a source hands over, what it sets aside, what a sink is given."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from msgspec import Struct, field

from limner.domain.failures import FailureCode
from limner.domain.values import Value
from limner.errors import LimnerError

#: Collection and id of a record.
RecordKey: TypeAlias = tuple[str, str]


class NotARecord(LimnerError):
    """A row cannot become a record, or a record no row of a shape; the text says why."""


class RecordIn(Struct, frozen=True, kw_only=True):
    """One record as a source or a door hands it over."""

    collection: str
    #: Opaque: given back exactly as it came.
    id: str
    #: JSON's types; what is not known is left out, not None, unless the source itself said null.
    fields: dict[str, Value]
    #: Opaque; another one says that the bytes at the record's addresses may have changed.
    revision: str | None = None
    #: Ordered; an older one never overwrites a newer one. Milliseconds since 1970 where the source gives a time.
    source_version: int | None = None
    parent: RecordKey | None = None


class SetAside(Struct, frozen=True, kw_only=True):
    """A source row that cannot become a record."""

    #: Where it stands: the line of a text file it starts at (from 1, header included), the row of a table, or a path.
    row: int | str
    #: One sentence for a person.
    reason: str
    code: FailureCode = FailureCode.INPUT_INVALID
    #: The beginning of the row, on one line, at most 200 characters.
    excerpt: str = ""


class Provenance(Struct, frozen=True, kw_only=True):
    """What made a value."""

    #: Digest of the version, hexadecimal.
    version: str
    #: SHA-256 of the model file; None where the stage has no model.
    model: str | None = None
    #: Digest of the inputs that were read, hexadecimal.
    input: str | None = None


class ExportRow(Struct, frozen=True, kw_only=True):
    """One record and what was inferred about it, as a sink is given it."""

    record: RecordIn
    #: By stage; a stage without a current value is not in it.
    values: Mapping[str, Value] = field(default_factory=dict)
    #: By stage.
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    #: Fields of the parent record, where there is one; only shapes look at them.
    parent_fields: Mapping[str, Value] = field(default_factory=dict)


class Shape(Struct, frozen=True, kw_only=True):
    """A system's own form of a record as one JSON object, both ways."""

    name: str
    #: One sentence for ``--help``.
    about: str
    #: From an object and the collection being filled to its record, after those of other collections that came
    #: along (a work before its image). Raises NotARecord.
    read: Callable[[Mapping[str, Value], str], list[RecordIn]]
    #: From a record with its values to an object. Raises NotARecord.
    write: Callable[[ExportRow], dict[str, Value]]


def excerpt(text: str, *, size: int = 200) -> str:
    """The beginning of *text* on one line, with what cannot be printed as escapes."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:size])
    return shown[:size]
